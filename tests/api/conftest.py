"""Fixtures of the wire: one server per module, on a database of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from conftest import SECRET, START_DATE
from support.cluster import copied_database
from support.queries import DAYS, Row, event_at, lines_of_day
from support.wire import (
    AUDIENCE,
    GATEWAY_SECRET,
    ISSUER,
    SERVICE_KEY,
    Issuer,
    Server,
    StartServer,
    start_server,
    write_jwks,
)
from support.workers import TWO

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """The issuer that the server trusts."""
    return Issuer()


@pytest.fixture(scope="module")
def api_database(server: str, template: str) -> Iterator[Database]:
    """A migrated, empty database for a module."""
    with copied_database(server, f"signal_api_{next(_numbers)}", template) as copied:
        yield copied


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


@pytest.fixture(scope="module")
def both(start: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The module's server, which has a spool."""
    return start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path_factory.mktemp("spool")))


@pytest.fixture
def rows(api_database: Database) -> Iterator[Connection]:
    """A connection to the module's database."""
    with api_database.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def api_settings(api_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a process that writes to the module's database by itself."""
    return Settings(
        _env_file=None,
        database_url=api_database.url,
        env="development",
        home=tmp_path_factory.mktemp("home"),
        salt_secret=SECRET,
    )  # type: ignore[call-arg, arg-type]


@pytest.fixture
def outage(server: str, api_database: Database) -> Callable[[], object]:
    """A context in which nobody can connect to the module's database.

    All existing connections are closed.
    """
    name = psycopg.conninfo.conninfo_to_dict(api_database.url)["dbname"]

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false")
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )
            try:
                yield
            finally:
                connection.execute(f"alter database {name} allow_connections true")

    return away


@pytest.fixture(scope="module")
def lines(api_database: Database, api_settings: Settings, models: Models) -> list[Row]:
    """Events of three days; the rollups of the first two are fresh, that of the third is stale."""
    made = [each for number, day in enumerate(DAYS) for each in lines_of_day(number, day)]
    with closing(Ingest.from_settings(api_settings, api_database)) as ingest:
        assert ingest.ingest_lines([json.dumps(each).encode() for each in made]).accepted == len(
            made
        )
        engine = open_engine(api_settings, api_database)
        for day in DAYS:
            build_day(api_database, engine, models, day)
        late = event_at(DAYS[2], 12, 0, ip="198.51.100.1")
        assert ingest.ingest_lines([json.dumps(late).encode()]).accepted == 1
    return [*made, late]


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis of the test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is missing: shared rate limits were not tried")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        for _ in range(200):
            try:
                redis.Redis(port=port).ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield port
        process.terminate()
