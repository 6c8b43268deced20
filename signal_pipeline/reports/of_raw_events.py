"""Reports by any combination of keys, counted exactly from raw events inside the retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import LiteralString

from psycopg import sql

from signal_pipeline.days.calendar import days_between, window
from signal_pipeline.days.coverage import Coverage, days_note, read_coverage, spans_of
from signal_pipeline.events.ids import NO_VALUE
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import KEYS, Key
from signal_pipeline.reports.dropped_events import only_dropped_note
from signal_pipeline.reports.questions import Question, parse_question
from signal_pipeline.reports.raw_labels import RawLabels
from signal_pipeline.reports.report import Report, Rows, labelled_report, read_rows
from signal_pipeline.reports.report_errors import PurgedError
from signal_pipeline.reports.small_cells import HiddenRows, hidden_of_raw

# This lock is taken before the snapshot. Without it, a purge could drop the partition of a day that
# is open in the snapshot, and the day would count as zero.
KEEP_PARTITIONS: LiteralString = "lock table only signal.events in access share mode"

FORMER_ID_NOTE = (
    "earlier versions of Signal stored every id in lower case: events under this id in lower case"
    " are not in these numbers, and can be of this entity or of another"
)


def raw_report(
    database: Database,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
    *,
    hide_small: bool = False,
) -> Report:
    """Return exact counts from raw events by any keys of `dimensions.KEYS`, under equality filters.

    With `day` among the keys, or over one day, users and sessions are distinct per row. Over
    several days, sessions are distinct over the window, and users are headed `summed_daily_users`:
    hashes change every day on purpose, so nobody can be recognised on another day. With
    `hide_small`, small cells are left out, and so are the rows from which one could work them out.
    Notes name the unknown days. Raises QuestionError for an unknown key, PurgedError for days whose
    raw events are gone, and WindowError.
    """
    question = parse_question(keys, where, first, last, hide_small=hide_small)
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(KEEP_PARTITIONS)
        coverage = read_coverage(connection, question.first, question.last)
        if coverage.purged:
            way_out = ": ask a rollup instead, such as `report app`"
            raise purged_error(coverage, question, way_out)
        return raw_answer(connection, question, coverage, hide_small=hide_small)


def purged_error(coverage: Coverage, question: Question, way_out: str) -> PurgedError:
    """Return the error for a question about days whose raw events are gone.

    `way_out` is the end of its sentence: what can be asked instead, or why nothing can.
    """
    (purged,) = days_note(coverage.purged, "in this window are purged")
    keys = ", ".join(key.name for key in question.keys)
    return PurgedError(f"raw events of {purged}; a count over {keys} would be too low{way_out}")


def raw_answer(
    connection: Connection, question: Question, coverage: Coverage, *, hide_small: bool = False
) -> Report:
    """Answer a question whose raw events are all kept.

    This changes how PostgreSQL plans the rest of the transaction, so ask nothing else in the same
    transaction afterwards.
    """
    labels = RawLabels(connection, coverage, question.where.get("app"))
    _plan_for_whole_days(connection, question)
    rows = _raw_rows(connection, question, coverage)
    notes = labels.notes()
    if not rows.records:
        notes += only_dropped_note(connection, coverage, question.where)
    former = question.by_former_id
    if former and _raw_rows(connection, former, coverage).records:
        notes.append(FORMER_ID_NOTE)
    hidden = _hidden_rows(connection, question, coverage) if hide_small else None
    return labelled_report(rows, labels.of_row, notes, hidden)


def _plan_for_whole_days(connection: Connection, question: Question) -> None:
    """Tell PostgreSQL how to plan the counts in the rest of the transaction."""
    has_index = "app" in question.where or question.where.get("entity", NO_VALUE) != NO_VALUE
    connection.execute(
        query(__package__, "plan_for_whole_days"), {"by_index": "on" if has_index else "off"}
    )


def _hidden_rows(connection: Connection, question: Question, coverage: Coverage) -> HiddenRows:
    filters = {KEYS[name].column: value for name, value in question.where.items()}
    days = days_between(*coverage.known_span)
    # A day without a row in `signal.days` should have no events. On a cluster it can have some: the
    # first events of a day can be stored between two statements of one snapshot. They are counted,
    # so they are judged too.
    rest = spans_of(day for day in days if day not in coverage.states)
    spans = [*((day, day) for day in days if day in coverage.states), *rest]
    return hidden_of_raw(connection, [key.column for key in question.keys], filters, spans)


def _raw_rows(connection: Connection, question: Question, coverage: Coverage) -> Rows:
    columns = [
        sql.SQL("{} as {}").format(sql.SQL(key.raw), sql.Identifier(key.column))
        for key in question.keys
    ]
    filters = [_raw_filter(KEYS[name], value) for name, value in question.where.items()]
    statement = sql.SQL(query(__package__, "report_raw")).format(
        columns=sql.SQL(", ").join(columns),
        keys=key_columns(question.keys),
        filters=sql.SQL(" ").join(filters),
        users_name=sql.Identifier("users" if question.by_day else "summed_daily_users"),
    )
    start, end = window(*coverage.known_span)
    return read_rows(connection, statement, {"start": start, "end": end, **filter_values(question)})


def filter_values(question: Question) -> dict[str, str]:
    """Return the values of the placeholders that `equality` makes."""
    return {f"where {name}": value for name, value in question.where.items()}


def equality(key: Key) -> sql.Composed:
    """Return the condition of a filter on the column of a key."""
    return sql.SQL("and {} = {}").format(
        sql.Identifier(key.column), sql.Placeholder(f"where {key.name}")
    )


def _raw_filter(key: Key, value: str) -> sql.Composed:
    """Return the condition of a filter on the column itself, so that an index on it can be used."""
    if value == NO_VALUE:
        return sql.SQL("and {} is null").format(sql.Identifier(key.column))
    return equality(key)


def key_columns(keys: Sequence[Key]) -> sql.Composed:
    """Return the columns of the keys, separated by commas."""
    return identifiers(key.column for key in keys)
