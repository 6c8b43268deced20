"""The ASGI application: `POST /graphql`, `GET /healthz`, `GET /readyz`, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import logging
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

from signal_pipeline.api.addresses import client_address, forwarded_host
from signal_pipeline.api.answers import answer, refusal
from signal_pipeline.api.callers import Identification
from signal_pipeline.api.context import RequestContext, Services
from signal_pipeline.api.documents import Documents
from signal_pipeline.api.errors import ApiError
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.rate_limit import RateLimit
from signal_pipeline.api.requests import read_call
from signal_pipeline.api.schema import build_schema
from signal_pipeline.api.spool import Spool
from signal_pipeline.ingest import Ingest
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import Settings
from signal_pipeline.store.audit import actor_hmac
from signal_pipeline.store.database import Database, DatabaseError

logger = logging.getLogger(__name__)

READERS = 4
READY_SECONDS = 5.0
MIDNIGHT_STEP_SECONDS = 60.0
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is made of; everything in it was checked before."""

    settings: Settings
    identification: Identification
    ingest: Ingest
    rate_limit: RateLimit
    spool: Spool | None
    readers_database: Database
    models: dict[str, Model]
    revive: Callable[[], object] | None


def create_app(parts: Parts) -> Starlette:
    """The application around an ingest that is open already."""
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
            app.state.endpoint = _Endpoint(parts, documents, services)
            app.state.asker = asker
            midnight = asyncio.create_task(_forget_at_midnight(parts.ingest))
            gc.freeze()  # What was loaded stays: going through it again at each full collection stops everybody.
            yield
            gc.unfreeze()
            midnight.cancel()
            await commits.close()

    return Starlette(
        routes=[
            Route("/graphql", _graphql, methods=["POST"]),
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", _readyz, methods=["GET"]),
        ],
        middleware=[_loopback_cors()] if development else [],
        lifespan=lifespan,
    )


async def _forget_at_midnight(ingest: Ingest) -> None:
    """An idle server gets no event that would make it forget yesterday's user agents."""
    while True:
        # In short steps: a sleep does not notice that the clock was set, or that the machine stood still.
        await asyncio.sleep(min(ingest.seconds_to_midnight(), MIDNIGHT_STEP_SECONDS))
        ingest.forget_past_days()


def _loopback_cors() -> Middleware:
    """Development without a gateway: pages of this machine may call. In production the gateway answers browsers."""
    return Middleware(
        CORSMiddleware,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type"],
        max_age=600,
    )


class _Endpoint:
    """Answers one GraphQL request after another."""

    def __init__(self, parts: Parts, documents: Documents, services: Services) -> None:
        self._identification = parts.identification
        self._trusted = parts.settings.trusted_proxies
        self._production = parts.settings.production
        self._documents = documents
        self.services = services

    async def handle(self, request: Request) -> Response:
        try:
            call = await read_call(request)
            caller = await self._identification.caller(
                request.headers.get("authorization", ""), call.query, call.variables, call.extensions
            )
        except ApiError as error:
            return refusal(error)
        except RecursionError:
            return refusal(ApiError("BAD_REQUEST", "the body is nested too deep", 400))
        peer = request.client.host if request.client else None
        context = RequestContext(
            services=self.services,
            caller=caller,
            address=client_address(
                request.headers.getlist("x-forwarded-for"), self._trusted, None if self._production else peer
            ),
            host=forwarded_host(request.headers.getlist("x-forwarded-host"), peer, self._trusted),
            user_agent=request.headers.get("user-agent"),
        )
        result = await self._documents.run(call, context)
        return answer(result, context)


async def _graphql(request: Request) -> Response:
    endpoint: _Endpoint = request.app.state.endpoint
    try:
        return await endpoint.handle(request)
    except Exception as error:
        # Not raised: the server would log it with its values.
        logger.error("a request failed: %s", type(error).__name__)
        return refusal(ApiError("INTERNAL", "an internal error", 500))


async def _healthz(_: Request) -> Response:
    """The process lives."""
    return PlainTextResponse("ok")


async def _readyz(request: Request) -> Response:
    """The database answers. Asked from a thread of its own: slow reads do not make a process unready."""
    endpoint: _Endpoint = request.app.state.endpoint
    try:
        await asyncio.wait_for(
            asyncio.get_running_loop().run_in_executor(request.app.state.asker, _ask, endpoint.services.database),
            READY_SECONDS,
        )
    except (DatabaseError, TimeoutError):
        return PlainTextResponse("the database does not answer", 503)
    return PlainTextResponse("ok")


def _ask(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("select 1")
