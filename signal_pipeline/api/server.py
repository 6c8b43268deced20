"""The command `signal-pipeline serve`, with one process.

It checks the settings, opens everything, and runs uvicorn until it is told to stop. `workers.py`
does the same with several processes.
"""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import Any

import uvicorn

from signal_pipeline.api.app import create_app
from signal_pipeline.api.connections import Limits, SharedConnections, connection_limits
from signal_pipeline.api.graphql.context import Services
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.identity.configuration import identification_from
from signal_pipeline.api.identity.rate_limit import RateLimit, Window
from signal_pipeline.api.protocol import BoundedProtocol
from signal_pipeline.events.hashing import key_id
from signal_pipeline.events.user_agents import load_lists
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.ingest.spool_folders import gather_spools
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
    """Only a server behind a gateway is safe here, but one without a gateway is asked for."""


def run_server(
    settings: Settings,
    host: str,
    port: int,
    *,
    gateway: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGTERM, SIGHUP or Ctrl-C.

    When this returns, every acknowledged event is committed or in the spool.

    Raises SignalError if something is wrong at the start. The error is a WithoutGatewayError if a
    server without a `gateway` is asked for in production, or beyond loopback with SIGNAL_ENV set.
    """
    check_bind(settings, host, gateway)
    identification = identification_from(settings, gateway=gateway)
    # Each read of raw events is audited. A missing audit key must fail here, not at the first read.
    audit_key(settings)
    models = load_models()
    database = open_and_migrate(settings, models)
    rate_limit = rate_limit_from(settings)
    rate_limit.check_storage()
    with open_services(
        settings, database, models, rate_limit, _only_spool(settings, database)
    ) as services:
        limits = connection_limits(settings)
        app = create_app(settings, identification, services)
        server = uvicorn.Server(uvicorn.Config(app, **uvicorn_options(settings, limits)))
        listener = listen(host, port, limits.backlog)
        stop_on_sigterm(server)
        say(where_it_listens(listener))
        server.run(sockets=[listener])


def check_bind(settings: Settings, host: str, gateway: bool) -> None:
    """Raise SettingsError if it is not safe to listen on this address with these settings."""
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
def open_services(
    settings: Settings,
    database: Database,
    models: Models,
    rate_limit: RateLimit,
    opened_spool: AbstractContextManager[Spool | None],
) -> Iterator[Services]:
    """Open everything that requests share. Raises SignalError if a part cannot be used."""
    ingest = Ingest.from_settings(settings, database)
    if settings.production:
        load_lists()  # In development a quick start matters more than a quick first event.
        _warn_without_proxies(settings)
    with (
        opened_spool as spool,
        closing(KeptConnections(database.url, STATEMENT_SECONDS)) as reads,
    ):
        yield Services(
            ingest,
            GroupCommit(ingest, spool, _embedded_restart(settings)),
            rate_limit,
            reads,
            models,
            ingest.acceptance.catalogue,
            ThreadPoolExecutor(READERS, thread_name_prefix="signal-reader"),
            partial(actor_hmac, settings),
        )


def open_and_migrate(settings: Settings, models: Models) -> Database:
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


def rate_limit_from(settings: Settings, window: Window | None = None) -> RateLimit:
    """Return the rate limit of the settings, which counts in `window` unless Redis is set.

    Raises SettingsError for a URL that cannot be used.
    """
    url = settings.rate_limit_url
    return RateLimit(ingest_secret(settings), url.get_secret_value() if url else None, window)


def _only_spool(settings: Settings, database: Database) -> AbstractContextManager[Spool | None]:
    """Open the only spool of this server; nothing if there is no folder for it."""
    if not settings.spool_dir:
        return nullcontext()
    gather_spools(settings.spool_dir, workers=1)
    return closing(
        Spool(
            settings.spool_dir, database, key_id(ingest_secret(settings)), settings.retention_days
        )
    )


def uvicorn_options(settings: Settings, limits: Limits) -> dict[str, Any]:
    """Return the arguments of `uvicorn.Config` for a server; workers change `log_config`."""
    return {
        "proxy_headers": False,  # It would trust headers that a client forged; see forwarded.py.
        "server_header": False,
        "access_log": False,  # It would hold addresses.
        "log_config": None,
        # uvicorn's type asks for a class, but uvicorn only calls it, once per connection.
        "http": partial(BoundedProtocol, SharedConnections(limits, settings.trusted_proxies)),
        "ws": "none",
        "backlog": limits.backlog,
        "timeout_graceful_shutdown": STOP_SECONDS,
    }


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that listens. Raises SettingsError if that is not possible."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    # UnicodeError and TypeError come from a host that is neither a name nor an address.
    except (OSError, OverflowError, UnicodeError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "no such address or port"
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None


def where_it_listens(listener: socket.socket) -> str:
    """Return the line that a user waits for."""
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    return f"Signal's subgraph: http://{shown}:{port}/graphql (stop with Ctrl-C)"


def stop_on_sigterm(server: uvicorn.Server) -> None:
    """Stop the server at SIGTERM, even before it runs.

    Once uvicorn runs, it handles the signal itself, and raises it again when it is done.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
