"""The ASGI application: `POST /graphql`, `GET /healthz`, `GET /readyz`, and nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from signal_pipeline.api.endpoint import GraphqlEndpoint
from signal_pipeline.api.graphql.context import Services
from signal_pipeline.api.graphql.documents import Documents
from signal_pipeline.api.graphql.schema import build_schema
from signal_pipeline.api.health import Readiness, healthz
from signal_pipeline.api.identity.callers import Identification
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.settings import Settings

MIDNIGHT_STEP_SECONDS = 60.0
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def create_app(settings: Settings, identification: Identification, services: Services) -> ASGIApp:
    """Build the application, which starts the threads of `services` and stops them when it ends."""
    development = not settings.production
    endpoint = GraphqlEndpoint(
        identification,
        settings.trusted_proxies,
        Documents(build_schema(), introspection=development),
        services,
        peer_is_client=development,
    )
    readiness = Readiness(services.database)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with services.readers, readiness.thread:
            async with services.commits:
                midnight = asyncio.create_task(_forget_at_midnight(services.ingest))
                # Everything that is loaded by now stays for good. Unless it is frozen, each full
                # garbage collection scans it again while the requests in flight wait.
                gc.freeze()
                try:
                    yield
                finally:
                    gc.unfreeze()
                    midnight.cancel()

    starlette = Starlette(
        routes=[
            Route("/graphql", endpoint, methods=["POST"]),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readiness.readyz, methods=["GET"]),
        ],
        middleware=[_loopback_cors()] if development else [],
        lifespan=lifespan,
    )
    return Dispatcher(endpoint, starlette)


class Dispatcher:
    """An ASGI application that sends most `POST /graphql` straight to the endpoint.

    A request without an `Origin` header does not come from a page of another origin, so it can skip
    Starlette's routing and middleware. Everything else goes to `fallback`.
    """

    def __init__(self, endpoint: GraphqlEndpoint, fallback: ASGIApp) -> None:
        self._endpoint = endpoint
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's start and stop."""
        if (
            scope["type"] == "http"
            and scope["path"] == "/graphql"
            and scope["method"] == "POST"
            and all(name != b"origin" for name, _ in scope["headers"])
        ):
            await self._endpoint(scope, receive, send)
        else:
            await self._fallback(scope, receive, send)


async def _forget_at_midnight(ingest: Ingest) -> None:
    """Forget yesterday's user agents at each midnight UTC, even on a server that gets no events."""
    while True:
        # In short steps: a sleep does not notice that the clock was set or that the machine slept.
        await asyncio.sleep(min(ingest.seconds_to_midnight(), MIDNIGHT_STEP_SECONDS))
        ingest.forget_past_days()


def _loopback_cors() -> Middleware:
    """Let pages on this machine call the API directly in development.

    In production, the gateway answers the CORS requests of browsers.
    """
    return Middleware(
        CORSMiddleware,
        allow_origin_regex=LOOPBACK_ORIGIN,
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type"],
        max_age=600,
    )
