"""The query `eventStats`: the numbers of `reports`, for callers who are allowed to see them.

The rules are requirements 6.6 and 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.event_filters import filter_fields, text_filters, without_nulls
from signal_pipeline.api.graphql.types import (
    EventStats,
    EventStatsRow,
    StatsBy,
    StatsFilter,
    StatsKey,
    StatsPeriod,
    StatsState,
)
from signal_pipeline.api.identity.callers import ApiKey, Authenticated
from signal_pipeline.api.refusals import bad_input, forbidden, unauthenticated
from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.days.calendar import WindowError, check_window
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.dimensions import KEYS, rollup_name
from signal_pipeline.reports.filters import check_filters
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.reports.report import Report
from signal_pipeline.reports.report_errors import PurgedError, QuestionError, UnknownFilterError
from signal_pipeline.rollups.models import Models

MAX_ROWS = 10_000
LARGEST_INT = 2**31 - 1  # GraphQL has no larger one.
ENTITY_KEYS = {"entity", "entity-type"}
FILTER_KEYS = {key.column: key.name for key in KEYS.values() if key.name != "day"}
ROW_KEYS = ("week", *FILTER_KEYS)
# `reports` calls numbers from rollups fresh and those from raw events exact; here both are FRESH.
STATES = {"exact": StatsState.FRESH, **{state.value: state for state in StatsState}}


@dataclass(frozen=True, slots=True)
class StatsQuestion:
    """A question to `eventStats`: a rollup (`by`) or keys (`group_by`), the days, the filters."""

    first: date
    last: date
    by: StatsBy | None
    group_by: Sequence[StatsKey]
    period: StatsPeriod
    where: Mapping[str, str]

    @property
    def keys(self) -> set[str]:
        """Return every key that the question uses."""
        keys = {key.value for key in self.group_by} | set(self.where)
        return keys | {self.by.value} if self.by else keys


def parse_stats_question(
    first: date,
    last: date,
    by: StatsBy | None,
    group_by: Sequence[StatsKey] | None,
    period: StatsPeriod | None,
    filters: Mapping[str, str],
) -> StatsQuestion:
    """Return a question, or raise ApiError for one that makes no sense.

    `filters` has the names of the fields of `StatsFilter` as its keys.
    """
    if (by is None) == (not group_by):
        raise bad_input("ask for either a rollup with `by` or keys with `groupBy`")
    try:
        check_window(first, last)
    except WindowError:
        raise bad_input("`from` is after `to`") from None
    where = {FILTER_KEYS[name]: value for name, value in filters.items()}
    if by is not None and not where.keys() <= {"app", "event-type"}:
        raise bad_input(
            "`by` can be filtered by app and event type only; `groupBy` takes every filter"
        )
    if by is None and period is not None:
        raise bad_input("`period` belongs to `by`; with `groupBy`, ask for the key DAY")
    return StatsQuestion(
        first, last, by, list(dict.fromkeys(group_by or ())), period or StatsPeriod.DAY, where
    )


async def event_stats(context: RequestContext, question: StatsQuestion) -> EventStats:
    """Return aggregates from a rollup, or counted exactly from raw events.

    Raises ApiError for callers who may not see them.
    """
    _check_allowed(context, question.keys)
    context.stats_answered = True
    return await asyncio.get_running_loop().run_in_executor(
        context.services.readers,
        _answer,
        context.services.database,
        context.services.models,
        context.services.catalogue,
        question,
        context.is_admin,
    )


def _answer(
    database: Database,
    models: Models,
    catalogue: Catalogue,
    question: StatsQuestion,
    is_admin: bool,
) -> EventStats:
    report = _ask_reports(database, models, question, hide_small=not is_admin)
    if len(report.records) > MAX_ROWS:
        raise bad_input(f"more than {MAX_ROWS} rows: ask for fewer days, or filter")
    # No other number of a row is larger than its events.
    if any(row["events"] > LARGEST_INT for row in report.records):
        raise bad_input(
            f"a sum is above {LARGEST_INT}, the largest Int of GraphQL: ask for fewer days or a"
            " shorter period, or filter"
        )
    # Only an answer without rows can be mistaken for a true zero, so other answers need no check.
    doubts = [] if report.records else _filter_notes(database, catalogue, question)
    return EventStats(
        rows=_rows(report, question),
        suppressed_rows=report.left_out,
        notes=[*report.notes, *doubts],
    )


def _filter_notes(database: Database, catalogue: Catalogue, question: StatsQuestion) -> list[str]:
    """Return a note if no event can have the value of a filter. The CLI refuses such a filter."""
    try:
        check_filters(database, catalogue, question.where, of_rollup=question.by is not None)
    except UnknownFilterError as error:
        return [str(error)]
    return []


def question_filters(
    stats_filter: StatsFilter | None, app: str | None, event_type: str | None
) -> dict[str, str]:
    """Return the filters of a question in one mapping.

    `app` and `eventType` can be arguments beside `filter`. Raises ApiError if an argument and
    `filter` disagree, and for a text that no event can hold.
    """
    fields = filter_fields(stats_filter)
    arguments = without_nulls({"app_name": app, "event_type": event_type})
    if any(fields.get(name, value) != value for name, value in arguments.items()):
        raise bad_input("`filter` and the arguments name different apps or event types")
    return text_filters({**fields, **arguments}, FILTER_KEYS)


def _check_allowed(context: RequestContext, keys: set[str]) -> None:
    """Check that the caller may ask for these keys. Raises ApiError.

    Admins see all. Analysts and services see no entities, and get one answer per request.
    """
    caller = context.caller
    if context.is_admin:
        return
    if not isinstance(caller, ApiKey | Authenticated):
        raise unauthenticated("log in to read aggregates")
    if isinstance(caller, Authenticated) and "analyst" not in caller.roles:
        raise forbidden("aggregates are for admins, analysts and services")
    if keys & ENTITY_KEYS:
        raise forbidden("slices by entity are for admins only")
    if context.stats_answered:
        raise forbidden(
            "one eventStats per request: a second answer could reveal what the first left out"
        )


def _ask_reports(
    database: Database, models: Models, question: StatsQuestion, *, hide_small: bool
) -> Report:
    """Ask `reports`. Raises ApiError if it cannot answer."""
    if question.by is not None and rollup_name(question.by.value) not in models:
        raise bad_input("this server has no such rollup")
    try:
        if question.by is None:
            keys = [key.value for key in question.group_by]
            return raw_report(
                database, keys, question.where, question.first, question.last, hide_small=hide_small
            )
        return rollup_report(
            database,
            models,
            question.by.value,
            question.first,
            question.last,
            by=question.period.value,
            app=question.where.get("app"),
            event_type=question.where.get("event-type"),
            hide_small=hide_small,
        )
    except PurgedError:
        raise bad_input(
            "some raw events of this window are purged: ask for a rollup with `by`"
        ) from None
    except QuestionError as error:
        raise bad_input(str(error)) from None


def _rows(report: Report, question: StatsQuestion) -> list[EventStatsRow]:
    one_day = question.first if question.first == question.last else None
    return [
        _row(row, labels, one_day)
        for row, labels in zip(report.records, report.labels, strict=True)
    ]


def _row(row: Mapping[str, Any], labels: Sequence[str], one_day: date | None) -> EventStatsRow:
    """Return one row of a report, whose columns depend on the question; see `reports`."""
    users, sessions = row.get("users"), row.get("sessions")
    day = row.get("activity_date", one_day)
    # Over a single day, the distinct sessions are also the sum of the daily sessions.
    summed_sessions = row.get("summed_daily_sessions", sessions if day else None)
    return EventStatsRow(
        day=day,
        **{name: row.get(name) for name in ROW_KEYS},
        events=int(row["events"]),
        users=None if users is None else int(users),
        summed_daily_users=int(row["summed_daily_users"] if users is None else users),
        sessions=None if sessions is None else int(sessions),
        summed_daily_sessions=None if summed_sessions is None else int(summed_sessions),
        states=[STATES[label] for label in labels],
    )
