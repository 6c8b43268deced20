"""Fixtures of the wire: one server per module, on a database of its own."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator

import psycopg
import pytest
from conftest import SECRET, START_DATE
from support.wire import (
    AUDIENCE,
    GATEWAY_SECRET,
    ISSUER,
    SERVICE_KEY,
    Issuer,
    Server,
    start_server,
    write_jwks,
)

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import with_database

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """The issuer that the server trusts."""
    return Issuer()


@pytest.fixture(scope="module")
def api_database(server: str, template: str) -> Iterator[Database]:
    """A migrated, empty database for a module."""
    name = f"signal_api_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
        yield Database(with_database(server, name))
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def api_environment(
    api_database: Database, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The settings of a production server."""
    folder = tmp_path_factory.mktemp("api")
    return {
        "SIGNAL_DATABASE_URL": api_database.url,
        "SIGNAL_ENV": "production",
        "SIGNAL_HOME": str(folder / "home"),
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_AUDIT_KEY": "an-audit-key-for-tests-of-more-than-32-bytes",
        "SIGNAL_START_DATE": START_DATE.isoformat(),
        "SIGNAL_HMAC_SECRET": GATEWAY_SECRET,
        "SIGNAL_JWKS": str(write_jwks(folder / "jwks.json", issuer)),
        "SIGNAL_JWT_ISSUER": ISSUER,
        "SIGNAL_JWT_AUDIENCE": AUDIENCE,
        "SIGNAL_ADMIN_UIDS": "boss-1, boss-2",
        "SIGNAL_ADMIN_CLAIM": "roles=signal-admin",
        "SIGNAL_ANALYST_CLAIM": "analyst",
        "SIGNAL_ANALYST_UIDS": "analyst-1",
        "SIGNAL_API_KEYS": f"dashboard:{hashlib.sha256(SERVICE_KEY.encode()).hexdigest()}",
        "SIGNAL_TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.0/8,2001:db8:ff::/48",
    }


StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def start(
    issuer: Issuer, api_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartServer]:
    """Starts servers with changed settings; None removes a setting.

    The servers are stopped with the module.
    """
    started: list[Server] = []

    def run(*arguments: str, **changes: str | None) -> Server:
        settings = {k: v for k, v in {**api_environment, **changes}.items() if v is not None}
        started.append(start_server(issuer, settings, tmp_path_factory.mktemp("serve"), *arguments))
        return started[-1]

    yield run
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def api(start: StartServer) -> Server:
    """The module's server, in production."""
    return start()


@pytest.fixture
def rows(api_database: Database) -> Iterator[Connection]:
    """A connection to the module's database."""
    with api_database.connect() as connection:
        yield connection
