"""Reports by any combination of keys, from raw events or from the rollup that can answer.

For days beyond the retention, a rollup answers if it has all dimensions of the question: there,
events are counted by one rollup's dimension at a time (requirement 8.1). A report that cannot be
right is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from psycopg import sql

from signal_pipeline.days.coverage import Coverage, days_note, read_coverage
from signal_pipeline.events.ids import NO_VALUE
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.dimensions import GROUPS, KEYS
from signal_pipeline.reports.dropped_events import only_dropped_note
from signal_pipeline.reports.of_raw_events import (
    FORMER_ID_NOTE,
    KEEP_PARTITIONS,
    equality,
    filter_values,
    key_columns,
    purged_error,
    raw_answer,
)
from signal_pipeline.reports.questions import Question, parse_question
from signal_pipeline.reports.report import Report, labelled_report, read_rows
from signal_pipeline.reports.rollup_labels import RollupLabels
from signal_pipeline.rollups.declared_tests import ReconcilesWith
from signal_pipeline.rollups.models import Model, Models
from signal_pipeline.rollups.schema_yml import ALL_TYPES

# An event has both or neither.
OF_ENTITIES = ("entity_id is not null", "entity_type is not null")


def grouped_report(
    database: Database,
    models: Models,
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
) -> Report:
    """Count raw events if those of every day of the window are kept, else read a rollup.

    The rollup must have all dimensions of the question. Raises PurgedError if there is none, since
    a count of the remaining raw events would be too low. Also raises QuestionError and WindowError.
    """
    question = parse_question(keys, where, first, last)
    with database.connect() as connection, connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        connection.execute(KEEP_PARTITIONS)
        coverage = read_coverage(connection, question.first, question.last)
        if not coverage.purged:
            return raw_answer(connection, question, coverage)
        model = _rollup_of(models, question)
        if model is None:
            way_out = ", and no rollup has these dimensions together"
            raise purged_error(coverage, question, way_out)
        return _rollup_answer(connection, models, model, question, coverage)


def _rollup_of(models: Models, question: Question) -> Model | None:
    """Return the rollup that has all dimensions of the question, and the fewest others.

    A rollup that leaves out events is taken only if no other has these dimensions, and never for a
    filter by `(none)`.
    """
    wanted = question.dimensions - {*GROUPS}
    candidates = [
        model
        for model in models.values()
        if wanted <= set(model.dimensions)
        and (model.covers_all_events or NO_VALUE not in question.where.values())
    ]
    return min(
        candidates,
        key=lambda model: (not model.covers_all_events, len(model.dimensions)),
        default=None,
    )


def _rollup_answer(
    connection: Connection,
    models: Models,
    model: Model,
    question: Question,
    coverage: Coverage,
) -> Report:
    # Users and sessions are distinct within a row of the rollup, so they are shown only if each row
    # of the report is one rollup row per day.
    is_row_by_row = question.dimensions >= {"app_name", *model.dimensions}
    users_name, sessions_name = (
        ("users", "sessions")
        if question.by_day
        else ("summed_daily_users", "summed_daily_sessions")
    )
    filters = [equality(KEYS[name]) for name in question.where]
    if "event-type" not in question.where:
        types = (
            "and event_type <> {}" if KEYS["event-type"] in question.keys else "and event_type = {}"
        )
        filters.append(sql.SQL(types).format(sql.Literal(ALL_TYPES)))
    statement = sql.SQL(query(__package__, "report_grouped")).format(
        keys=key_columns(question.keys),
        rollup=sql.Identifier(model.name),
        filters=sql.SQL(" ").join(filters),
        users_name=sql.Identifier(users_name),
        sessions_name=sql.Identifier(sessions_name),
    )
    days = {"first": coverage.first, "last": coverage.last}
    rows = read_rows(connection, statement, {**days, **filter_values(question)})
    notes = days_note(
        coverage.purged, f"have no raw events any more, so these numbers are from {model.name}"
    )
    former = question.by_former_id
    if former and read_rows(connection, statement, {**days, **filter_values(former)}).records:
        notes.append(FORMER_ID_NOTE)
    if not is_row_by_row:
        rows = rows.without(users_name, sessions_name)
        notes.append(
            "no users or sessions: the rows that are added up here can count the same person more"
            " than once"
        )
    if not model.covers_all_events:
        notes.append(_left_out_note(model))
    elif not rows.records:
        notes += only_dropped_note(connection, coverage, question.where)
    labels = RollupLabels(connection, models, model.name, coverage, question.where.get("app"))
    return labelled_report(rows, labels.of_row, [*notes, *labels.notes()])


def _left_out_note(model: Model) -> str:
    """Return which events a rollup leaves out, as its own test says."""
    conditions = (
        test.where
        for test in model.tests
        if isinstance(test, ReconcilesWith) and test.to == "events" and test.where
    )
    condition = next(conditions, None)
    if condition is None:
        return f"{model.name} does not say which events it counts, so these numbers can be too low"
    condition = " ".join(condition.split())
    if condition in OF_ENTITIES:
        return "events without an entity are not in these numbers"
    return f"only events where {condition} are in these numbers"
