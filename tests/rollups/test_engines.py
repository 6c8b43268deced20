"""Both engines on a real PostgreSQL, compared with each other and with plain Python."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from signal_pipeline.postgres.database import Connection, DatabaseError
from signal_pipeline.rollups import day_columns, duckdb_engine, duckdb_events
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import DaySnapshot, Engine, EngineError
from signal_pipeline.rollups.models import Model, load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups

DAY = date(2026, 3, 8)  # New York changes to summer time on this day.
START = datetime(2026, 3, 8, tzinfo=UTC)
END = START + timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)

Row = tuple[object, ...]
AddRollup = Callable[..., None]


@dataclass(frozen=True)
class Event:
    """An event as the rollups see it; user and session are small numbers here."""

    created_at: datetime
    app_name: str = "cms"
    event_type: str = "clicked"
    route: str | None = None
    entity: tuple[str, str] | None = None
    user: int = 0
    session: int | None = None
    device_type: str = "desktop"
    browser_family: str = "Chrome"
    os_family: str = "macOS"
    description: Mapping[str, object] | None = None

    def row(self) -> Row:
        entity_type, entity_id = self.entity or (None, None)
        return (
            *(self.created_at, self.app_name, self.event_type, self.route, entity_type, entity_id),
            sha256(str(self.user).encode()).digest(),
            None if self.session is None else UUID(int=self.session),
            *(self.device_type, self.browser_family, self.os_family),
            None if self.description is None else Jsonb(dict(self.description)),
        )


DIMENSIONS: Mapping[str, Callable[[Event], tuple[str, ...] | None]] = {
    "daily_app_activity": lambda event: (),
    "daily_device_activity": lambda event: (event.device_type,),
    "daily_route_activity": lambda event: (event.route if event.route is not None else "(none)",),
    "daily_entity_activity": lambda event: event.entity,
    "daily_browser_activity": lambda event: (event.browser_family,),
    "daily_os_activity": lambda event: (event.os_family,),
}


def expected_rows(events: Iterable[Event], rollup: str, day: date = DAY) -> set[Row]:
    """The oracle: requirement 8 in plain Python."""
    groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
    for event in events:
        dimensions = DIMENSIONS[rollup](event)
        if event.created_at.astimezone(UTC).date() == day and dimensions is not None:
            for event_type in (event.event_type, "(all)"):
                groups[event.app_name, event_type, *dimensions].append(event)
    return {
        (
            day,
            *key,
            len(group),
            len({event.user for event in group}),
            len({event.session for event in group if event.session is not None}),
        )
        for key, group in groups.items()
    }


def insert(connection: Connection, events: Iterable[Event]) -> None:
    with connection.cursor().copy(
        "copy signal.events (created_at, app_name, event_type, route, entity_type, entity_id,"
        " user_hash, session_id, device_type, browser_family, os_family, description) from stdin"
    ) as copy:
        for event in events:
            copy.write_row(event.row())


def build(
    engine: Engine, connection: Connection, models: Mapping[str, Model], day: date = DAY
) -> tuple[DaySnapshot, dict[str, int]]:
    """Does what a build does, without its checks and records."""
    with engine.read(connection, day, models) as built, connection.transaction():
        for model in models.values():
            table = sql.Identifier("signal", model.name)
            connection.execute(
                sql.SQL("delete from {} where activity_date = %s").format(table), [day]
            )
        return built.snapshot, {
            name: built.write(connection, model) for name, model in models.items()
        }


def stored_rows(connection: Connection, rollup: str) -> list[Row]:
    query = sql.SQL("select * from {}").format(sql.Identifier("signal", rollup))
    return connection.execute(query).fetchall()


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Engine:
    """Each of the two engines in turn."""
    return DuckdbEngine(url, tmp_path / "tmp") if request.param == "duckdb" else PostgresEngine()


@pytest.fixture
def day(rollups: Connection) -> Connection:
    """A connection to a database that knows the day, without events."""
    rollups.execute("insert into signal.days values (%s, 7)", [DAY])
    return rollups


@pytest.fixture(scope="module")
def many_events() -> list[Event]:
    """Some thousand events over three days; everything that can be null sometimes is."""
    chance = random.Random(20260308)
    times = [
        START - timedelta(days=1) + timedelta(seconds=chance.uniform(0, 259_200))
        for _ in range(6000)
    ]
    times += [START - MICROSECOND, START, END - MICROSECOND, END]
    return [
        Event(
            time,
            chance.choice(["cms", "journeys-admin", "videos-admin"]),
            chance.choice(["a_clicked", "b_opened", "c_picked"]),
            chance.choice([None, "/", "/journeys/[id]", "/über/ß", "/Ä"]),
            chance.choice([None, ("journey", str(UUID(int=chance.randrange(40))))]),
            chance.randrange(300),
            chance.choice([None, chance.randrange(500)]),
            chance.choice(["desktop", "mobile"]),
            chance.choice(["Chrome", "Safari", "Samsung Internet"]),
            chance.choice(["macOS", "Other"]),
            chance.choice([None, {"language": "de"}]),
        )
        for time in times
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_rollups_are_what_plain_python_counts(
    engine: Engine,
    day: Connection,
    url: str,
    models: Mapping[str, Model],
    many_events: list[Event],
    zone: str,
) -> None:
    insert(day, many_events)
    day.execute(f"alter database rollups_test set timezone to '{zone}'")
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("show timezone").fetchone() == (zone,)
            snapshot, written = build(engine, connection, models)
    finally:
        day.execute("alter database rollups_test reset timezone")
    of_the_day = [event.created_at for event in many_events if event.created_at.date() == DAY]
    assert snapshot == DaySnapshot(DAY, 7, "open", 0, len(of_the_day), START, END - MICROSECOND)
    for rollup in models:
        rows = stored_rows(day, rollup)
        assert set(rows) == expected_rows(many_events, rollup)
        assert written[rollup] == len(rows) == len(set(rows))


@pytest.mark.parametrize("enum_values", [0, 3, 45, 50_000])
def test_words_that_a_later_batch_brings_and_too_many_of_them_change_nothing(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Mapping[str, Model],
    many_events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    enum_values: int,
) -> None:
    monkeypatch.setattr(day_columns, "BLOCKS", 2)
    monkeypatch.setattr(day_columns, "QUERIES", 2)
    monkeypatch.setattr(duckdb_events, "ENUM_VALUES", enum_values)
    insert(day, sorted(many_events, key=lambda event: event.route or ""))
    build(DuckdbEngine(url, tmp_path / "tmp"), day, models)
    for rollup in models:
        rows = stored_rows(day, rollup)
        assert set(rows) == expected_rows(many_events, rollup)
        assert len(rows) == len(set(rows))


def test_the_day_is_half_open_at_the_microsecond(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    times = [START - MICROSECOND, START, START + MICROSECOND, END - MICROSECOND, END]
    insert(day, [Event(time, user=number) for number, time in enumerate(times)])
    snapshot, _ = build(engine, day, models)
    assert (snapshot.raw_events, snapshot.first_event, snapshot.last_event) == (
        *(3, START),
        END - MICROSECOND,
    )
    assert set(stored_rows(day, "daily_app_activity")) == {
        (DAY, "cms", "clicked", 3, 3, 0),
        (DAY, "cms", "(all)", 3, 3, 0),
    }


def test_subtotals_are_computed_not_summed(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    events = [
        Event(START, event_type="opened", user=1, session=1),
        Event(START, event_type="picked", user=1, session=1),
    ]
    insert(day, events)
    build(engine, day, models)
    assert (DAY, "cms", "(all)", 2, 1, 1) in stored_rows(day, "daily_app_activity")


def test_a_day_without_events_gives_no_rows(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    insert(day, [Event(START)])
    build(engine, day, models)
    day.execute("delete from signal.events")
    snapshot, written = build(engine, day, models)
    assert snapshot == DaySnapshot(DAY, 7, "open", 0, 0, None, None)
    assert set(written.values()) == {0}
    assert all(stored_rows(day, rollup) == [] for rollup in models)


def test_a_second_build_changes_nothing(
    engine: Engine, day: Connection, models: Mapping[str, Model], many_events: list[Event]
) -> None:
    insert(day, many_events)
    build(engine, day, models)
    before = [sorted(stored_rows(day, rollup)) for rollup in models]
    build(engine, day, models)
    assert [sorted(stored_rows(day, rollup)) for rollup in models] == before


def test_expected_events_are_accepted_minus_erased(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    other_day = DAY - timedelta(days=1)
    for entry in (
        *((DAY, "accepted", 5), (DAY, "accepted", 4), (DAY, "erased", 2)),
        *((DAY, "duplicate", 8), (DAY, "dropped", 16), (other_day, "accepted", 32)),
    ):
        day.execute("insert into signal.books values (%s, %s, %s)", entry)
    snapshot, _ = build(engine, day, models)
    assert snapshot.expected_events == 7


def test_a_purged_day_reads_as_empty(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    day.execute("update signal.days set state = 'purged'")
    with engine.read(day, DAY, models) as built:
        assert (built.snapshot.state, built.snapshot.raw_events) == ("purged", 0)


def test_an_unknown_day_is_refused(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    unknown = DAY + timedelta(days=9)
    with pytest.raises(EngineError, match=f"day {unknown} is unknown"):
        build(engine, day, models, unknown)


def test_some_of_the_models_may_be_built(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    insert(day, [Event(START)])
    _, written = build(engine, day, models.only(["daily_os_activity"]))
    assert written == {"daily_os_activity": 2}
    assert stored_rows(day, "daily_app_activity") == []


def test_what_happens_after_the_read_is_not_in_it(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    insert(day, [Event(START)])
    with engine.read(day, DAY, models) as built:
        insert(day, [Event(START)])
        day.execute("update signal.days set version = 8")
        built.write(day, models["daily_app_activity"])
    assert (built.snapshot.version, built.snapshot.raw_events) == (7, 1)
    assert (DAY, "cms", "(all)", 1, 1, 0) in stored_rows(day, "daily_app_activity")


def test_a_write_can_be_done_again_after_a_rollback(
    engine: Engine, day: Connection, models: Mapping[str, Model]
) -> None:
    insert(day, [Event(START)])
    with engine.read(day, DAY, models) as built:
        for rolled_back in (True, False):
            with day.transaction(force_rollback=rolled_back):
                assert built.write(day, models["daily_app_activity"]) == 2
    assert len(stored_rows(day, "daily_app_activity")) == 2


def test_version_books_and_events_are_of_one_snapshot(
    engine: Engine, day: Connection, url: str, models: Mapping[str, Model]
) -> None:
    """A writer commits an event, its entry in the books and the version together.

    No read must see them apart.
    """
    day.execute("update signal.days set version = 0")
    day.execute("insert into signal.books values (%s, 'accepted', 0)", [DAY])
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as writing:
            while not done.is_set():
                with writing.transaction():
                    insert(writing, [Event(START)])
                    writing.execute("update signal.books set events = events + 1")
                    writing.execute("update signal.days set version = version + 1")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        small = models.only(["daily_app_activity"])
        seen = [build(engine, day, small)[0] for _ in range(15)]
    finally:
        done.set()
        thread.join()
    for snapshot in seen:
        assert snapshot.version == snapshot.expected_events == snapshot.raw_events
    assert len({snapshot.version for snapshot in seen}) > 1


def test_every_type_of_column_survives(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "typed",
        "case when min(route) is null then null else '' end as empty,\n"
        "cast(count(*) as integer) as small,\n"
        "cast(count(*) as double precision) / 3 as share,\n"
        "count(route) > 0 as routed,\n"
        "min(created_at) as first_event,\n"
        "cast(min(created_at) as date) as first_date",
        "",
        "\n".join(
            f"      - {{name: {name}, data_type: {data_type}, description: Made up.}}"
            for name, data_type in (
                *(("empty", "text"), ("small", "integer"), ("share", "double precision")),
                *(("routed", "boolean"), ("first_event", "timestamptz"), ("first_date", "date")),
            )
        ),
        "activity_date, app_name, event_type",
    )
    models = {"typed": load_models(folder)["typed"]}
    migrate_rollups(day, models)
    night = START + timedelta(hours=2, microseconds=123456)  # Still the day before in New York.
    insert(day, [Event(night), Event(night, app_name="videos-admin", route="/")])
    day.execute("set time zone 'America/New_York'")
    build(engine, day, models)
    common = (1, 1 / 3)
    assert sorted(stored_rows(day, "typed")) == [
        (DAY, "cms", "clicked", None, *common, False, night, DAY, 1, 1, 0),
        (DAY, "videos-admin", "clicked", "", *common, True, night, DAY, 1, 1, 0),
    ]


def test_a_rollup_may_read_the_description(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "daily_language_activity",
        "coalesce(description ->> 'language', '(none) %') as language",
        "coalesce(description ->> 'language', '(none) %')",
        "      - {name: language, data_type: text, description: Picked., tests: [not_null]}",
        "activity_date, app_name, event_type, language",
    )
    models = {"daily_language_activity": load_models(folder)["daily_language_activity"]}
    migrate_rollups(day, models)
    odd = 'a "quote", a \\ and a\nnew line'
    insert(
        day,
        [Event(START, description=d) for d in (None, {}, {"language": odd}, {"language": "de"})],
    )
    build(engine, day, models)
    assert set(stored_rows(day, "daily_language_activity")) == {
        (DAY, "cms", "clicked", "(none) %", 2, 1, 0),
        (DAY, "cms", "clicked", odd, 1, 1, 0),
        (DAY, "cms", "clicked", "de", 1, 1, 0),
    }


def test_rows_of_another_day_are_refused(engine: Engine, day: Connection, folder: Path) -> None:
    path = folder / "models/daily_app_activity.sql"
    path.write_text(path.read_text().replace("'UTC'", "'America/New_York'"))
    insert(day, [Event(START)])
    with pytest.raises(EngineError, match="daily_app_activity gave 2 rows of other days"):
        build(engine, day, {"daily_app_activity": load_models(folder)["daily_app_activity"]})


def test_errors_hold_no_text_of_a_row(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "failing",
        "sum(cast(route as integer)) as routes",
        "",
        "      - {name: routes, data_type: bigint, description: Made up.}",
        "activity_date, app_name, event_type",
    )
    models = {"failing": load_models(folder)["failing"]}
    migrate_rollups(day, models)
    insert(day, [Event(START, route="/private")])
    with pytest.raises((EngineError, DatabaseError)) as caught:
        build(engine, day, models)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    # The connection can be used for the next build.
    day.execute("delete from signal.events")
    build(engine, day, models)


def test_the_snapshot_transaction_must_be_new(day: Connection, models: Mapping[str, Model]) -> None:
    with day.transaction(), pytest.raises(EngineError, match="is in a transaction"):
        build(PostgresEngine(), day, models)


def test_postgres_leaves_no_temporary_table(day: Connection, models: Mapping[str, Model]) -> None:
    insert(day, [Event(START)])
    build(PostgresEngine(), day, models)
    with pytest.raises(ZeroDivisionError), PostgresEngine().read(day, DAY, models):
        raise ZeroDivisionError
    assert day.execute("select count(*) from pg_class where relpersistence = 't'").fetchone() == (
        0,
    )


def test_duckdb_spills_into_a_private_folder_and_removes_it(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Mapping[str, Model],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duckdb_engine, "MEMORY_LIMIT", "64MB")
    insert(day, [Event(START)])
    day.execute("""
        insert into signal.events (created_at, app_name, event_type, user_hash, device_type, browser_family, os_family)
        select created_at, app_name, event_type, sha256(n::text::bytea), device_type, browser_family, os_family
        from signal.events, generate_series(1, 249999) as n
        """)
    folder = tmp_path / "tmp"
    small = models.only(["daily_app_activity"])
    with DuckdbEngine(url, folder).read(day, DAY, small) as built:
        (held,) = folder.iterdir()
        assert [path.stat().st_mode & 0o777 for path in (folder, held)] == [0o700, 0o700]
        assert [path for path in held.rglob("*") if path.is_file()]
        assert built.write(day, small["daily_app_activity"]) == 2
    assert (DAY, "cms", "(all)", 250_000, 250_000, 0) in stored_rows(day, "daily_app_activity")
    with pytest.raises(ZeroDivisionError), DuckdbEngine(url, folder).read(day, DAY, models):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []


def test_duckdb_removes_what_a_killed_build_left(
    day: Connection, url: str, tmp_path: Path, models: Mapping[str, Model]
) -> None:
    folder = tmp_path / "tmp"
    left = folder / "build-left"
    left.mkdir(parents=True)
    (left / "spilled").touch()
    (folder / "another.file").touch()
    with DuckdbEngine(url, folder).read(day, DAY, models):
        running = set(folder.glob("build-*"))
        with DuckdbEngine(url, folder).read(day, DAY, models):
            assert left not in folder.iterdir()
            assert running < set(folder.glob("build-*"))
    assert [path.name for path in folder.iterdir()] == ["another.file"]


def test_an_unreachable_server_is_named_without_its_address(
    day: Connection, tmp_path: Path, models: Mapping[str, Model]
) -> None:
    engine = DuckdbEngine("postgresql://someone:hidden@127.0.0.1:1/nowhere", tmp_path)
    with pytest.raises(EngineError, match="cannot read the day from PostgreSQL") as caught:
        build(engine, day, models)
    assert "hidden" not in str(caught.value)


def test_after_an_error_the_reader_has_ended_before_its_transaction_does(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Mapping[str, Model],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread reads the next batch on the connection that the error closes."""
    read: list[int] = []

    def batches(*_: object) -> Iterator[pa.RecordBatch]:
        for number in range(3):
            time.sleep(0.2 * number)
            read.append(number)
            yield pa.RecordBatch.from_pydict({"number": [number]})

    def fill(_: object, __: object, given: Iterator[pa.RecordBatch]) -> None:
        next(given)
        raise MemoryError

    monkeypatch.setattr(duckdb_engine, "day_batches", batches)
    monkeypatch.setattr(duckdb_engine, "fill_events", fill)
    engine = DuckdbEngine(url, tmp_path / "tmp")
    with pytest.raises(MemoryError):
        build(engine, day, models)
    assert read == [0, 1]
    monkeypatch.undo()
    assert build(engine, day, models)


def names(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


event_lists = st.lists(
    st.builds(
        Event,
        created_at=st.one_of(
            st.sampled_from([START - MICROSECOND, START, END - MICROSECOND, END]),
            st.timedeltas(timedelta(days=-1), timedelta(days=2)).map(lambda after: START + after),
        ),
        app_name=names("cms", "journeys-admin"),
        event_type=names("opened", "picked"),
        route=st.none() | names("/", "/a", "/A", "/é", "/\U0001f600"),
        entity=st.none() | st.tuples(names("journey", "video"), names("1", "2")),
        user=st.integers(0, 4),
        session=st.none() | st.integers(0, 4),
        device_type=names("desktop", "mobile"),
        browser_family=names("Chrome", "Other"),
        os_family=names("macOS", "unknown"),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def kept(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the examples of one property share: the URL, and a folder."""
    return make_conninfo(url, options="-c timezone=America/New_York"), tmp_path_factory.mktemp(
        "tmp"
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=event_lists)
def test_any_events_count_the_same_everywhere(
    day: Connection, kept: tuple[str, Path], models: Mapping[str, Model], events: list[Event]
) -> None:
    url, folder = kept
    day.execute("delete from signal.events")
    insert(day, events)
    with psycopg.connect(url, autocommit=True) as connection:
        for engine in (DuckdbEngine(url, folder), PostgresEngine()):
            snapshot, _ = build(engine, connection, models)
            assert snapshot.raw_events == sum(START <= event.created_at < END for event in events)
            for rollup in models:
                rows = stored_rows(day, rollup)
                assert len(rows) == len(set(rows))
                assert set(rows) == expected_rows(events, rollup)


def test_the_oracle_covers_every_rollup() -> None:
    assert set(load_models()) == set(DIMENSIONS)
