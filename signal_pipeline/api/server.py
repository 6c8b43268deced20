"""The command `signal-pipeline serve`.

It checks the settings, opens everything, and runs uvicorn until it is told to stop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from functools import cache, partial
from typing import cast

import uvicorn

from signal_pipeline.api.app import Parts, create_app
from signal_pipeline.api.connections import Connections, Limits, connection_limits
from signal_pipeline.api.identity import development
from signal_pipeline.api.identity.callers import Identification, Roles
from signal_pipeline.api.identity.rate_limit import RateLimit
from signal_pipeline.api.identity.tokens import PublicKeys, TokenVerifier
from signal_pipeline.api.protocol import BoundedProtocol
from signal_pipeline.events.hashing import check_secret, key_id
from signal_pipeline.events.user_agents import load_lists
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings, SettingsError, audit_key, salt_secret

STATEMENT_SECONDS = 10.0
STOP_SECONDS = 20  # In-flight requests have this long to finish.


def run_server(
    settings: Settings,
    host: str,
    port: int,
    *,
    gateway: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Every acknowledged event is committed by then.

    Raises SignalError if something is wrong at the start.
    """
    _check_bind(settings, host, gateway)
    identification = _identification(settings, gateway)
    parts = _parts(settings, identification)
    limits = connection_limits(settings)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(parts),
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
    listener = _listen(host, port, limits.backlog)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Once uvicorn runs, it handles SIGTERM, and raises it again when it is done.
    signal.signal(signal.SIGTERM, stop)
    address, bound = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    say(f"Signal's subgraph: http://{shown}:{bound}/graphql (stop with Ctrl-C)")
    try:
        server.run(sockets=[listener])
    finally:
        if parts.spool is not None:
            parts.spool.close()


def _check_bind(settings: Settings, host: str, gateway: bool) -> None:
    loopback = host == "localhost" or _is_loopback(host)
    if not loopback and settings.env is None:
        raise SettingsError(
            "SIGNAL_ENV must be set (development or production) to bind beyond loopback"
        )
    if not gateway and (settings.production or not loopback):
        raise SettingsError(
            "--no-gateway is for development on loopback: nothing proves where a request comes from"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _protocol(settings: Settings, limits: Limits) -> type[asyncio.Protocol]:
    """Return the factory of one protocol per connection; all of them share one `Connections`."""
    # Made at the first connection, because it needs the running event loop.
    shared = cache(lambda: Connections(limits, settings.trusted_proxies))
    return cast("type[asyncio.Protocol]", partial(BoundedProtocol, shared))


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such address or port"
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None


def _identification(settings: Settings, gateway: bool) -> Identification:
    """Set up how callers are identified. Production needs every key; development makes its own."""
    if settings.production:
        missing = [
            name
            for name, value in (
                ("SIGNAL_HMAC_SECRET", settings.hmac_secret),
                ("SIGNAL_JWKS", settings.jwks),
                ("SIGNAL_JWT_ISSUER", settings.jwt_issuer),
                ("SIGNAL_JWT_AUDIENCE", settings.jwt_audience),
            )
            if value is None
        ]
        if missing:
            raise SettingsError(
                f"production cannot tell who is calling without {', '.join(missing)}"
            )
    secret = development.gateway_secret(settings).encode() if gateway else None
    if settings.production and (settings.jwks or "").startswith("http://"):
        raise SettingsError(
            "SIGNAL_JWKS: keys over plain http can be replaced on their way: write https:// or a"
            " file"
        )
    own_issuer = settings.jwks is None
    keys = PublicKeys(settings.jwks or str(development.public_keys(settings)))
    keys.load()
    verifier = TokenVerifier(
        keys,
        settings.jwt_issuer or development.ISSUER,
        settings.jwt_audience or development.AUDIENCE,
    )
    return Identification(
        verifier,
        secret,
        settings.api_keys,
        Roles(
            {"admin": settings.admin_uids, "analyst": settings.analyst_uids},
            {
                "admin": settings.admin_claim or (development.ADMIN_CLAIM if own_issuer else None),
                "analyst": (
                    settings.analyst_claim or (development.ANALYST_CLAIM if own_issuer else None)
                ),
            },
        ),
        closed=settings.production,
    )


def _parts(settings: Settings, identification: Identification) -> Parts:
    # Each read of raw events is audited. A missing audit key must fail here, not at the first read.
    audit_key(settings)
    models = load_models()
    database = open_database(settings)
    if not settings.production:
        migrate(database, settings, models)
    ingest = Ingest.from_settings(settings, database)
    if settings.production:  # In development a quick start matters more than a quick first event.
        load_lists()
    secret = check_secret(salt_secret(settings))
    url = settings.rate_limit_url.get_secret_value() if settings.rate_limit_url else None
    if not settings.trusted_proxies and settings.production:
        logging.getLogger(__name__).warning(
            "SIGNAL_TRUSTED_PROXIES is empty: the last address of X-Forwarded-For is taken for the"
            " client's"
        )
    return Parts(
        settings=settings,
        identification=identification,
        ingest=ingest,
        rate_limit=RateLimit(secret, url),
        spool=(
            Spool(settings.spool_dir, database, key_id(secret), settings.retention_days)
            if settings.spool_dir
            else None
        ),
        readers_database=Database(database.url, STATEMENT_SECONDS),
        models=models,
        revive=None if settings.database_url else lambda: open_database(settings),
    )
