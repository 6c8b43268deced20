"""The ASGI application: `POST /graphql`, `GET /healthz`, `GET /readyz`, and nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from signal_pipeline.api.endpoint import GraphqlEndpoint
from signal_pipeline.api.graphql.context import Services
from signal_pipeline.api.graphql.documents import Documents
from signal_pipeline.api.graphql.schema import build_schema
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity.callers import Identification
from signal_pipeline.api.identity.rate_limit import RateLimit
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.postgres.database import Database, DatabaseError
from signal_pipeline.privacy.audit_log import actor_hmac
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

READERS = 4
READY_SECONDS = 5.0
MIDNIGHT_STEP_SECONDS = 60.0
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the application, all of them already checked."""

    settings: Settings
    identification: Identification
    ingest: Ingest
    rate_limit: RateLimit
    spool: Spool | None
    readers_database: Database
    models: Models
    revive: Callable[[], object] | None


def create_app(parts: Parts) -> Starlette:
    """Build the application around an ingest that is already open."""
    development = not parts.settings.production
    documents = Documents(build_schema(), introspection=development)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        commits = GroupCommit(parts.ingest, parts.spool, parts.revive)
        with (
            ThreadPoolExecutor(READERS, thread_name_prefix="signal-reader") as readers,
            ThreadPoolExecutor(1, thread_name_prefix="signal-ready") as asker,
        ):
            services = Services(
                parts.ingest,
                commits,
                parts.rate_limit,
                parts.readers_database,
                parts.models,
                readers,
                partial(actor_hmac, parts.settings),
            )
            app.state.database = parts.readers_database
            application.endpoint = GraphqlEndpoint(
                parts.identification,
                parts.settings.trusted_proxies,
                documents,
                services,
                peer_is_client=development,
            )
            app.state.asker = asker
            midnight = asyncio.create_task(_forget_at_midnight(parts.ingest))
            # What is loaded by now stays for good. If every full collection scanned it again, every
            # request would wait for that.
            gc.freeze()
            yield
            gc.unfreeze()
            midnight.cancel()
            await commits.close()

    application = _Application(
        routes=[
            Route("/graphql", _Graphql(), methods=["POST"]),
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", _readyz, methods=["GET"]),
        ],
        middleware=[_loopback_cors()] if development else [],
        lifespan=lifespan,
    )
    return application


class _Application(Starlette):
    """A Starlette app that sends most `POST /graphql` straight to the endpoint.

    A request without an `Origin` header comes from no page of another origin, so that it can skip
    routing and middleware.
    """

    endpoint: GraphqlEndpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["path"] == "/graphql"
            and scope["method"] == "POST"
            and all(name != b"origin" for name, _ in scope["headers"])
        ):
            await self.endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _Graphql:
    """The same endpoint, reached through routing and middleware.

    It is an ASGI application, because Starlette would pass its own `Request` to a function.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["app"].endpoint(scope, receive, send)


async def _forget_at_midnight(ingest: Ingest) -> None:
    """Forget yesterday's user agents at each midnight UTC, even on a server that gets no events."""
    while True:
        # In short steps: a sleep does not notice that the clock was set or that the machine slept.
        await asyncio.sleep(min(ingest.seconds_to_midnight(), MIDNIGHT_STEP_SECONDS))
        ingest.forget_past_days()


def _loopback_cors() -> Middleware:
    """Allow pages on this machine to call the API during development without a gateway.

    In production the gateway answers browsers.
    """
    return Middleware(
        CORSMiddleware,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type"],
        max_age=600,
    )


async def _healthz(_: Request) -> Response:
    """Answer that the process is alive."""
    return PlainTextResponse("ok")


async def _readyz(request: Request) -> Response:
    """Answer whether the database responds.

    A separate thread asks it, so that slow reads do not make the process look unready.
    """
    state = request.app.state
    try:
        await asyncio.wait_for(
            asyncio.get_running_loop().run_in_executor(state.asker, _ask, state.database),
            READY_SECONDS,
        )
    except (DatabaseError, TimeoutError):
        return PlainTextResponse("the database does not answer", 503)
    return PlainTextResponse("ok")


def _ask(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("select 1")
