"""Apache Superset on Signal's numbers, as the login `signal_reader`, through its REST API.

What somebody gets who clicks without reading is right, or says what it is. The dashboard in
`bi/superset` is imported, and its charts show what the oracle counts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import SECRET, START_DATE
from support.days import days_ago
from support.oracle import DIMENSIONS, Oracle
from support.superset import PASSWORD, Superset, running_superset, superset_program
from support.traffic import line, traffic

from signal_pipeline.cli.psql import reader_url
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

DASHBOARD = Path(__file__).parents[2] / "bi" / "superset"
DAYS = [days_ago(days) for days in (1, 2, 3)]


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    superset_program()  # Skips before anything is made.
    with running_superset(tmp_path_factory.mktemp("superset")) as running:
        yield running


@pytest.fixture(scope="module")
def filled(
    superset: Superset, server: str, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Oracle]]:
    """Three days with events, duplicates and drops, all built; and what they must add up to."""
    name = "signal_superset"
    oracle = Oracle(SECRET, START_DATE)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        database = Database(server.replace("/postgres?", f"/{name}?"))
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            database_url=database.url,
            env="development",
            home=tmp_path_factory.mktemp("home"),
            salt_secret=SECRET,
            start_date=START_DATE,
        )
        migrate(database, settings, models)
        for day in DAYS:
            now = datetime.fromisoformat(f"{day}T23:59:59+00:00")
            lines = traffic(day, 120)
            lines += [*lines[:7], line(now, userAgent="Googlebot/2.1"), line(now, appName="none")]
            oracle.take(lines, now)
            with closing(Ingest.from_settings(settings, database, lambda at=now: at)) as ingest:  # type: ignore[misc]
                ingest.ingest_lines(lines)
            build_day(database, PostgresEngine(), models, day)
        yield database, oracle
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def uri(filled: tuple[Database, Oracle]) -> str:
    """The reader's URL, as Superset wants it."""
    return reader_url(filled[0]).replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture(scope="module")
def connected(superset: Superset, uri: str) -> int:
    """The id of the reader's connection."""
    return superset.add_database("Reader", uri)


@pytest.fixture(scope="module")
def datasets(superset: Superset, connected: int, models: Models) -> dict[str, int]:
    """A dataset on every view of a rollup, as Superset makes it."""
    return {
        view: superset.add_dataset(connected, "signal_reporting", view)
        for name in models
        for view in (name, f"{name}_by_type")
    }


def counted(oracle: Oracle, rollup: str, groups: tuple[str, ...]) -> Counter[tuple[object, ...]]:
    return Counter(
        tuple("(none)" if event[group] is None else event[group] for group in groups)
        for event in oracle.events.values()
        if rollup != "daily_entity_activity" or event["entity_id"]
    )


def shown(rows: list[Mapping[str, Any]], groups: tuple[str, ...], metric: str) -> dict[Any, int]:
    return {tuple(row[group] for group in groups): row[metric] for row in rows}


@pytest.fixture
def imported(superset: Superset, uri: str) -> Iterator[None]:
    """The dashboard, as somebody imports it."""
    superset.import_dashboard(DASHBOARD, uri)
    yield
    # With SQLite, Superset cannot have two datasets of one name.
    superset.delete_all("dashboard", "chart", "dataset", "database")


def test_the_dashboard_shows_what_happened(
    superset: Superset, imported: None, filled: tuple[Database, Oracle]
) -> None:
    (dashboard,) = superset.get("/dashboard/")["result"]
    assert dashboard["dashboard_title"] == "Signal"
    charts = {
        chart["slice_name"]: chart["id"]
        for chart in superset.get(f"/dashboard/{dashboard['id']}/charts")["result"]
    }
    rows = {
        name: superset.get(f"/chart/{chart}/data/")["result"][0]["data"]
        for name, chart in charts.items()
    }
    oracle = filled[1]
    books: Counter[str] = Counter()
    reasons: Counter[tuple[str]] = Counter()
    for (_, _, _, outcome, reason), events in oracle.books.items():
        books[outcome] += events
        if reason:
            reasons[(reason,)] += events
    assert rows.pop("Events") == [{"events": len(oracle.events)}]
    assert rows.pop("Received") == [{"received": books.total()}]
    assert rows.pop("Dropped") == [{"dropped": books["dropped"]}]
    for name, rollup, groups in (
        ("Event types", "daily_app_activity", ("app_name", "event_type")),
        ("Routes", "daily_route_activity", ("app_name", "route")),
        ("Entities", "daily_entity_activity", ("app_name", "entity_type", "entity_id")),
    ):
        assert shown(rows.pop(name), groups, "events") == dict(counted(oracle, rollup, groups))
    for name, group, metric, wanted in (
        ("Events per app", "app_name", "events", counted(oracle, "", ("app_name",))),
        ("Events per device", "device_type", "events", counted(oracle, "", ("device_type",))),
        ("Drops by reason", "reason", "dropped", reasons),
    ):
        total: Counter[tuple[str]] = Counter()
        for row in rows.pop(name):
            total[(row[group],)] += row[metric]
        assert total == wanted, name
    users = {
        (datetime.fromtimestamp(row["activity_date"] / 1000, UTC).date(), row["app_name"]): row[
            "most_daily_users"
        ]
        for row in rows.pop("Daily users per app")
    }
    assert users == {
        (day, row[1]): row[-2]
        for day in DAYS
        for row in oracle.rows("daily_app_activity", day)
        if row[2] == "(all)"
    }
    assert rows == {"Days to read with care": []}


def test_the_sum_that_a_chart_offers_first_is_the_number_of_events(
    superset: Superset, datasets: Mapping[str, int], filled: tuple[Database, Oracle]
) -> None:
    for rollup, dimensions in DIMENSIONS.items():
        for view, columns in (
            (rollup, ["app_name", *dimensions]),
            (f"{rollup}_by_type", ["app_name", *dimensions, "event_type"]),
        ):
            for size in (0, 1, len(columns)):
                for groups in itertools.combinations(columns, size):
                    answer = superset.query(datasets[view], "events", list(groups)).json()
                    rows = answer["result"][0]["data"]
                    assert shown(rows, groups, "SUM(events)") == dict(
                        counted(filled[1], rollup, groups)
                    ), (view, groups)


def test_a_sum_of_distinct_counts_says_that_it_adds_daily_users_up(
    superset: Superset, datasets: Mapping[str, int]
) -> None:
    for view, dataset in datasets.items():
        columns = superset.get(f"/dataset/{dataset}")["result"]["columns"]
        described = {column["column_name"]: column["description"] for column in columns}
        assert not {"users", "sessions"} & set(described), view
        for name in ("daily_users", "daily_sessions"):
            assert "Never add these up" in described[name], view
        assert all(described.values()), view


def test_a_member_sees_the_views_of_signal_reporting_and_nothing_else(
    superset: Superset, connected: int, datasets: Mapping[str, int]
) -> None:
    assert superset.get(f"/database/{connected}/schemas/")["result"].count("signal_reporting") == 1
    tables = f"/database/{connected}/tables/?q=(schema_name:{{}})"
    listed = superset.get(tables.format("signal_reporting"))["result"]
    assert {table["value"] for table in listed} == {
        *datasets,
        *("app_days", "books", "bots", "days", "drops", "instance", "intake"),
        *("rollup_days", "rollup_freshness"),
    }
    assert {table["type"] for table in listed} == {"view"}

    member = _member(superset, "schema_access", "signal_reporting")
    assert member.get(f"/database/{connected}/schemas/")["result"] == ["signal_reporting"]
    assert member.get(tables.format("signal_reporting"))["count"] == len(listed)
    assert member.get(tables.format("signal"))["count"] == 0


def _member(superset: Superset, permission: str, schema: str) -> Superset:
    """A user with Superset's role Gamma, and access to one schema."""
    permissions: list[dict[str, Any]] = []
    for page in itertools.count():
        asked = f"/security/permissions-resources/?q=(page_size:100,page:{page})"
        more = superset.get(asked)["result"]
        permissions += more
        if not more:
            break
    (wanted,) = [
        each["id"]
        for each in permissions
        if each["permission"]["name"] == permission
        and each["view_menu"]["name"].startswith("[Reader]")
        and each["view_menu"]["name"].endswith(f"[{schema}]")
    ]
    role = superset.post("/security/roles/", name="Signal readers")["id"]
    superset.post(f"/security/roles/{role}/permissions", permission_view_menu_ids=[wanted])
    roles = superset.get("/security/roles/?q=(page_size:100)")["result"]
    gamma = next(each["id"] for each in roles if each["name"] == "Gamma")
    superset.post(
        "/security/users/",
        username="member",
        first_name="M",
        last_name="N",
        email="member@example.org",
        password=PASSWORD,
        active=True,
        roles=[gamma, role],
    )
    return Superset(superset.url, "member")


def test_a_dataset_on_the_tables_shows_nothing(superset: Superset, connected: int) -> None:
    """Superset lists the names in `signal`, since PostgreSQL's catalogue is open to everybody."""
    dataset = superset.add_dataset(connected, "signal", "builds")
    answer = superset.query(dataset, "rows", [])
    assert "permission denied for schema signal" in answer.text
    assert answer.status_code >= 400
