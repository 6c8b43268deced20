"""The command `signal-pipeline serve`.

It checks the settings, opens everything, and runs uvicorn until it is told to stop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache, partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from signal_pipeline.api.app import create_app
from signal_pipeline.api.connections import Connections, Limits, connection_limits
from signal_pipeline.api.graphql.context import Services
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity.configuration import identification_from
from signal_pipeline.api.identity.rate_limit import RateLimit
from signal_pipeline.api.protocol import BoundedProtocol
from signal_pipeline.events.hashing import key_id
from signal_pipeline.events.user_agents import load_lists
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.keys import audit_key, ingest_secret
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.postgres.kept_connections import KeptConnections
from signal_pipeline.privacy.audit_log import actor_hmac
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

READERS = 4  # Threads that answer queries.
STATEMENT_SECONDS = 10.0  # How long a query may run in PostgreSQL.
STOP_SECONDS = 20  # In-flight requests have this long to finish.


class WithoutGatewayError(SettingsError):
    """A server without a gateway is asked for where only one behind a gateway is safe."""


def run_server(
    settings: Settings,
    host: str,
    port: int,
    *,
    gateway: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Every acknowledged event is then committed or in the spool.

    Raises SignalError if something is wrong at the start. This is WithoutGatewayError for a server
    without a `gateway` in production or beyond loopback.
    """
    _check_bind(settings, host, gateway)
    identification = identification_from(settings, gateway=gateway)
    with _open_services(settings) as services:
        limits = connection_limits(settings)
        server = _uvicorn_server(settings, limits, create_app(settings, identification, services))
        listener = _listen(host, port, limits.backlog)
        _stop_on_sigterm(server)
        say(f"Signal's subgraph: {_url(listener)}/graphql (stop with Ctrl-C)")
        server.run(sockets=[listener])


def _check_bind(settings: Settings, host: str, gateway: bool) -> None:
    loopback = host == "localhost" or _is_loopback(host)
    if not loopback and settings.env is None:
        raise SettingsError(
            "SIGNAL_ENV must be set (development or production) to bind beyond loopback"
        )
    if not gateway and (settings.production or not loopback):
        raise WithoutGatewayError(
            "without a gateway, Signal serves only development on loopback: nothing proves where a"
            " request comes from"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _open_services(settings: Settings) -> Iterator[Services]:
    """Open everything that requests share. Raises SignalError if a part cannot be used."""
    # Each read of raw events is audited. A missing audit key must fail here, not at the first read.
    audit_key(settings)
    models = load_models()
    database = _open_database(settings, models)
    ingest = Ingest.from_settings(settings, database)
    if settings.production:
        load_lists()  # In development a quick start matters more than a quick first event.
        _warn_without_proxies(settings)
    rate_limit = _rate_limit(settings)
    with (
        _open_spool(settings, database) as spool,
        closing(KeptConnections(database.url, STATEMENT_SECONDS)) as reads,
    ):
        yield Services(
            ingest,
            GroupCommit(ingest, spool, _embedded_restart(settings)),
            rate_limit,
            reads,
            models,
            ThreadPoolExecutor(READERS, thread_name_prefix="signal-reader"),
            partial(actor_hmac, settings),
        )


def _open_database(settings: Settings, models: Models) -> Database:
    """Open the database; in development, also migrate it."""
    database = open_database(settings)
    if not settings.production:
        migrate(database, settings, models)
    return database


def _embedded_restart(settings: Settings) -> Callable[[], object] | None:
    """Return the call that starts the embedded database again; None if another one is used."""
    return None if settings.database_url else partial(open_database, settings)


def _warn_without_proxies(settings: Settings) -> None:
    if not settings.trusted_proxies:
        logger.warning(
            "SIGNAL_TRUSTED_PROXIES is empty: the last address of X-Forwarded-For counts as the"
            " client's"
        )


def _rate_limit(settings: Settings) -> RateLimit:
    url = settings.rate_limit_url
    return RateLimit(ingest_secret(settings), url.get_secret_value() if url else None)


def _open_spool(settings: Settings, database: Database) -> AbstractContextManager[Spool | None]:
    """Open the spool, which is released at the end, or nothing if there is no folder for it."""
    if not settings.spool_dir:
        return nullcontext()
    return closing(
        Spool(
            settings.spool_dir, database, key_id(ingest_secret(settings)), settings.retention_days
        )
    )


def _uvicorn_server(settings: Settings, limits: Limits, app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            proxy_headers=False,  # It would trust headers that a client forged; see forwarded.py.
            server_header=False,
            access_log=False,  # It would hold addresses.
            log_config=None,
            http=_protocol(settings, limits),
            ws="none",
            backlog=limits.backlog,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )


def _protocol(settings: Settings, limits: Limits) -> type[asyncio.Protocol]:
    """Return the factory of one protocol per connection; all of them share one `Connections`."""
    # Made at the first connection, because it needs the running event loop.
    shared = cache(lambda: Connections(limits, settings.trusted_proxies))
    # uvicorn's type asks for a class, but uvicorn only calls the factory, once per connection.
    return cast("type[asyncio.Protocol]", partial(BoundedProtocol, shared))


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such address or port"
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def _stop_on_sigterm(server: uvicorn.Server) -> None:
    """Stop the server at SIGTERM, even before it runs.

    Once uvicorn runs, it handles the signal itself, and raises it again when it is done.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
