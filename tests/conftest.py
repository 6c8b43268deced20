"""Shared fixtures: real PostgreSQL servers, a migrated database per test, settings, traffic.

Every test that touches the database runs on the embedded PostgreSQL, and on an installed one where
it is found.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from support.bundle import SignalBundle
from support.cluster import CLUSTER_URL, copied_database, create_cluster_database
from support.days import days_ago, wait_out_midnight
from support.logs import end_of, open_logs
from support.memory import folder_in_memory
from support.parallel import ByPart, slow_first

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.postgres.urls import with_database, write_url
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

SECRET = "a-secret-for-tests-of-more-than-32-bytes"
START_DATE = days_ago(400)
if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
    # At each start pytest closes its shared folder to other users, even while another run's
    # PostgreSQL uses it.
    _temporary = tempfile.mkdtemp(
        prefix="sig-"
    )  # Short: the path of a socket has at most 107 bytes.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _temporary
    atexit.register(shutil.rmtree, _temporary, ignore_errors=True)
# The partitions of the definitions that all tests share begin here.
os.environ["SIGNAL_START_DATE"] = START_DATE.isoformat()

# The speed of an example depends on the machine and says nothing.
hypothesis_settings.register_profile(
    "signal", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("signal")

Fill = Callable[..., None]  # A day, how many events, a seed.
Build = Callable[[date], None]
As = Callable[[str], Database]  # A role.

_numbers = itertools.count(1)

# What the collection makes lives to the end: the garbage collector must not pass over it again and
# again, which would take a twentieth of the CPU of all tests.
gc.disable()

# The tests that also run on a cluster, if there is one; `test_citus.py` says so if there is none.
ON_CLUSTER = {
    "test_citus.py",
    "test_ingest.py",
    "test_streams.py",
    "test_crashes.py",
    "test_newest_events.py",
    "test_reports.py",
    "test_erasure.py",
    "test_retention.py",
    "test_purged_days.py",
    "test_retention_kills.py",
    "test_retention_races.py",
    "test_audit.py",
    "test_roles.py",
    "test_role_work.py",
    "test_writer.py",
    "test_writer_races.py",
    "test_event_stats.py",
    "test_event_create.py",
    "test_events_query.py",
    "test_seen_days.py",
    "test_labels.py",
    "test_unknown_days.py",
    "test_small_cells.py",
    "test_beyond_the_retention.py",
    "test_lost_partitions.py",
    "test_undroppable_days.py",
}


def _installed_postgres() -> Path | None:
    """The folder of an installed server's programs, of any version from 15 on."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _run_as_owner(folder: Path) -> dict[str, Any]:
    """Run as the server's owner: PostgreSQL refuses to run as root, so root uses another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid}
    pytest.skip("no user to run an installed PostgreSQL as")


def _start_installed(folder: Path) -> tuple[str, Callable[[], None]]:
    programs = _installed_postgres()
    if programs is None:
        pytest.skip("no installed PostgreSQL found: these tests ran on the embedded one only")
    data = folder / "data"
    for parent in folder.parents:
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(parent.stat().st_mode | 0o055)
    folder.chmod(0o755)
    data.mkdir(mode=0o700)
    owner = _run_as_owner(data)
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, **owner}
    initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale=C.UTF-8"], **quiet)
    options = (
        f"-c listen_addresses='' -c unix_socket_directories={data} -c fsync=off -c"
        " max_connections=60"
    )
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", data / "log"]
    subprocess.run([*control, "-o", options, "start"], **quiet)
    url = write_url({"user": "postgres", "host": str(data), "dbname": "postgres"})
    return url, lambda: subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


def _spare_the_disk(server: str) -> None:
    """Let a server write without waiting for the disk, for which each dropped database would wait.

    What tests kill are processes: the system still writes what they wrote.
    """
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("alter system set fsync = off")
        connection.execute("select pg_reload_conf()")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on both servers, or only on the embedded one.

    The latter is for tests whose differences between the servers are tested elsewhere.
    """
    if "server" in metafunc.fixturenames:
        once = metafunc.definition.get_closest_marker("embedded_only")
        servers = ["embedded"] if once else ["embedded", "installed"]
        module = metafunc.definition.path.name
        if module == "test_citus.py":
            servers = []
        if CLUSTER_URL and module in ON_CLUSTER:
            servers.append("citus")
        metafunc.parametrize("server", servers, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest tests."""
    slow_first(items)


def pytest_collection_finish() -> None:
    """Turn the garbage collector on, for what the tests themselves make."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let what the collection made end as usual; DuckDB would print what is left as leaks."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Begin no test that midnight would interrupt, for then its days would change meanwhile.

    A test with a time limit of its own is a long one. No test waits for more than ten minutes.
    """
    own = item.get_closest_marker("timeout")
    wait_out_midnight(timedelta(seconds=min(own.args[0], 600) if own else 60))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a failed test what the processes that it still runs wrote last."""
    report = yield
    if report.failed:
        report.sections += [(path.name, end_of(path)) for path in open_logs]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPart:
    """Spread parts over the workers if there are several (`-n`)."""
    config.option.loadscopereorder = (
        False  # Otherwise the part with the most tests goes first, not the slowest.
    )
    return ByPart(config, log)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Starts a server of a kind when it is first asked for one, and gives its URL from then on.

    `server` has a parameter, so pytest ends it whenever a test of the other kind comes. The servers
    here outlive it.
    """
    started: dict[str, str] = {}
    with ExitStack() as stops:

        def url_of(kind: str) -> str:
            if kind not in started:
                memory = folder_in_memory()
                folder = memory / kind if memory else tmp_path_factory.mktemp(kind)
                folder.mkdir(exist_ok=True)
                if kind == "citus":
                    assert CLUSTER_URL is not None
                    started[kind] = CLUSTER_URL
                elif kind == "embedded":
                    started[kind] = with_database(start_embedded(folder), "postgres")
                    _spare_the_disk(started[kind])
                else:
                    started[kind], stop = _start_installed(folder)
                    stops.callback(stop)
            return started[kind]

        yield url_of


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, servers: Callable[[str], str]) -> str:
    """The URL of a running server's maintenance database."""
    return servers(request.param)


@pytest.fixture(scope="session")
def models() -> Models:
    """The project's own models."""
    return load_models()


@pytest.fixture(scope="session")
def template(server: str, models: Models, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database that tests copy; each server has one."""
    name = "signal_template"
    with psycopg.connect(server, autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return name
        if server != CLUSTER_URL:
            connection.execute(f"create database {name}")
    if server == CLUSTER_URL:
        create_cluster_database(server, name)
    url = with_database(server, name)
    home = tmp_path_factory.mktemp("template")
    distributed = "citus" if server == CLUSTER_URL else None
    migrate(Database(url), settings_for(url, home, distributed=distributed), models)
    return name


@pytest.fixture
def database(server: str, template: str) -> Iterator[Database]:
    """A migrated, empty database of its own."""
    with copied_database(server, f"signal_test_{next(_numbers)}", template) as copied:
        yield copied


def settings_for(url: str, home: Path, **changes: object) -> Settings:
    values: dict[str, object] = {
        "database_url": url,
        "env": "development",
        "home": home,
        "salt_secret": SECRET,
        "start_date": START_DATE,
        **changes,
    }
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Settings for the test's database and a home of its own."""
    return settings_for(database.url, tmp_path)


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same settings in the environment, for code that loads them, and for child processes."""
    for name in list(os.environ):
        if name.startswith(("SIGNAL", "DAGSTER")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SIGNAL_DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("SIGNAL_ENV", "development")
    monkeypatch.setenv("SIGNAL_HOME", str(settings.home))
    monkeypatch.setenv("SIGNALS_SALT_SECRET", SECRET)
    monkeypatch.setenv("SIGNAL_START_DATE", START_DATE.isoformat())
    return settings


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A connection to the test's database, in autocommit mode."""
    with database.connect() as open_connection:
        yield open_connection


@pytest.fixture
def ingest(settings: Settings, database: Database) -> Iterator[Ingest]:
    """An ingest with today's clock."""
    with closing(Ingest.from_settings(settings, database)) as events:
        yield events


@pytest.fixture
def ingest_at(settings: Settings, database: Database) -> Iterator[Callable[[datetime], Ingest]]:
    """Makes an ingest whose clock is fixed at a given time, so that old days can be filled."""
    opened: list[Ingest] = []

    def make(now: datetime) -> Ingest:
        opened.append(Ingest.from_settings(settings, database, lambda: now.astimezone(UTC)))
        return opened[-1]

    yield make
    for events in opened:
        events.close()


@pytest.fixture
def bundle(database: Database, settings: Settings, models: Models) -> SignalBundle:
    """A whole Signal over the test's database; support/bundle.py says what it does."""
    return SignalBundle(database, settings, models)


@pytest.fixture
def fill(bundle: SignalBundle) -> Fill:
    """Ingests good traffic of a day, as it came then."""
    return bundle.fill


@pytest.fixture
def build(bundle: SignalBundle) -> Callable[[date], object]:
    """Builds every rollup of a day."""
    return bundle.build
