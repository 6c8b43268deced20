"""Reads everything that a usage page shows, in one snapshot, from rollups and books alone.

On a page that is not for admins, rows are left out by the rule of `eventStats` (requirement 6.6),
no entities are shown, and the drops are the only numbers from the books.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from psycopg.rows import class_row

from signal_pipeline.days.calendar import check_window, days_between
from signal_pipeline.days.coverage import Coverage, read_coverage
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import rollup_name
from signal_pipeline.reports.of_rollups import read_rollup
from signal_pipeline.reports.page.split import UNKNOWN, Cell, Split
from signal_pipeline.reports.report import Report
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.reports.rollup_labels import RollupLabels
from signal_pipeline.rollups.models import Models

# The rollups of the page, each with its dimension; `app` has none.
DIMENSIONS = {
    "app": None,
    "route": "route",
    "device": "device_type",
    "browser": "browser_family",
    "os": "os_family",
}
TREND_DAYS = 28  # So a page of one week also shows the three weeks before it.
MOST_ENTITIES = 15
MOST_DAYS = 3_660  # Ten years: a chart and a table of more days show nothing to anybody.


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity, its events, the people on its busiest day, and on how many days it was used."""

    app_name: str
    entity_type: str
    entity_id: str
    events: int
    most_users: int
    days: int


@dataclass(frozen=True, slots=True)
class AppBooks:
    """What became of everything received of one app: received = accepted + duplicate + dropped."""

    app_name: str
    received: int
    accepted: int
    duplicate: int
    dropped: int
    erased: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One snapshot: the UTC days `first` to `last`, inclusive, and the longer window of the trend.

    `entities` and `books` are for admins, and empty on a page for everybody. `entity_days` is for
    the figures of entities: it has the labels of the days and no numbers. It has no days if there
    are no such figures. `dropped_types` are the pairs of app and event type with dropped events
    that no bot sent. `read_at` is in UTC.
    """

    first: date
    last: date
    app: str | None
    for_admins: bool
    read_at: datetime
    splits: Mapping[str, Split]
    trend: Split
    drops: Sequence[tuple[str, int]]
    dropped_types: Collection[tuple[str, str]]
    entities: Sequence[Entity]
    entity_days: Split
    books: Sequence[AppBooks]
    notes: Sequence[str]


def read_facts(
    database: Database,
    models: Models,
    first: date,
    last: date,
    *,
    app: str | None = None,
    for_admins: bool = False,
) -> Facts:
    """Return the facts of the days `first` to `last`, inclusive.

    Raises QuestionError for a window that no page can show, or for models that no page can be made
    from. Raises WindowError, NotMigratedError and DatabaseError.
    """
    _check_page_window(first, last)
    if rollup_name("app") not in models:
        raise QuestionError(
            f"a page needs the rollup {rollup_name('app')}, and there is no model of it"
        )
    hide = not for_admins
    trend_first = min(first, last - timedelta(days=TREND_DAYS - 1))
    window = {"first": first, "last": last, "app": app}
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        reports = {
            kind: read_rollup(connection, models, kind, first, last, app=app, hide_small=hide)
            for kind in DIMENSIONS
            if rollup_name(kind) in models
        }
        # A rollup whose days are unknown has no rows to name its apps, so each rollup gets labels
        # for the apps of all rollups.
        apps = set[str]().union(*map(_apps, reports.values()))
        splits = {
            kind: _split(connection, models, kind, first, last, report, apps)
            for kind, report in reports.items()
        }
        of_trend = read_rollup(
            connection, models, "app", trend_first, last, app=app, hide_small=hide
        )
        trend = _split(
            connection, models, "app", trend_first, last, of_trend, apps | _apps(of_trend)
        )
        has_entities = for_admins and rollup_name("entity") in models
        entity_days = (
            _entity_days(connection, models, first, last, apps)
            if has_entities
            else Split([], [], [], {})
        )
        return Facts(
            first,
            last,
            app,
            for_admins,
            datetime.now(UTC),
            splits,
            trend,
            connection.execute(query(__package__, "drops"), window).fetchall(),
            connection.execute(query(__package__, "dropped_types"), window).fetchall(),
            _entities(connection, window) if has_entities else [],
            entity_days,
            _books(connection, window) if for_admins else [],
            list(dict.fromkeys(note for report in reports.values() for note in report.notes)),
        )


def _check_page_window(first: date, last: date) -> None:
    check_window(first, last)
    days = (last - first).days + 1
    if days > MOST_DAYS:
        raise QuestionError(f"a page shows at most {MOST_DAYS:,} days, not {days:,}: choose fewer")
    # The trend can begin before `first`, and the window ends at the midnight after `last`.
    if (last - date.min).days < TREND_DAYS or last == date.max:
        raise QuestionError(f"no page ends on {last}: the calendar itself ends there")


def _apps(report: Report) -> set[str]:
    """Return the apps of a rollup's rows, shown or left out."""
    hidden = report.hidden.values if report.hidden else ()
    return {row["app_name"] for row in report.records} | {app for _, app, *_ in hidden}


def _split(
    connection: Connection,
    models: Models,
    kind: str,
    first: date,
    last: date,
    report: Report,
    apps: set[str],
) -> Split:
    dimension = DIMENSIONS[kind]
    # A rollup without a dimension has the empty text as its only value.
    cells = [
        Cell(
            row["activity_date"],
            row["app_name"],
            row["event_type"],
            row[dimension] if dimension else "",
            row["events"],
            row["users"],
        )
        for row in report.records
    ]
    hidden = [
        (day, app_name, event_type, value[0] if value else "")
        for day, app_name, event_type, *value in (report.hidden.values if report.hidden else ())
    ]
    labels = _day_labels(connection, models, rollup_name(kind), first, last, apps)
    return Split(days_between(first, last), cells, hidden, labels)


def _entity_days(
    connection: Connection, models: Models, first: date, last: date, apps: set[str]
) -> Split:
    labels = _day_labels(connection, models, "daily_entity_activity", first, last, apps)
    return Split(days_between(first, last), [], [], labels)


def _day_labels(
    connection: Connection,
    models: Models,
    rollup: str,
    first: date,
    last: date,
    apps: set[str],
) -> dict[tuple[date, str], Sequence[str]]:
    coverage = read_coverage(connection, first, last)
    labels = RollupLabels(connection, models, rollup, coverage)
    return {
        (day, app): _labels_or_unknown(labels, coverage, day, app)
        for day in days_between(first, last)
        for app in sorted(apps)
    }


def _labels_or_unknown(
    labels: RollupLabels, coverage: Coverage, day: date, app: str
) -> Sequence[str]:
    found = labels.of_row({"activity_date": day, "app_name": app})
    known_first, known_last = coverage.known_span
    if not known_first <= day <= known_last or {"missing", "unavailable"} & {*found}:
        return [UNKNOWN]
    return found


def _entities(connection: Connection, window: Mapping[str, object]) -> list[Entity]:
    cursor = connection.cursor(row_factory=class_row(Entity))
    parameters = {**window, "most": MOST_ENTITIES}
    return cursor.execute(query(__package__, "top_entities"), parameters).fetchall()


def _books(connection: Connection, window: Mapping[str, object]) -> list[AppBooks]:
    cursor = connection.cursor(row_factory=class_row(AppBooks))
    return cursor.execute(query(__package__, "books"), window).fetchall()
