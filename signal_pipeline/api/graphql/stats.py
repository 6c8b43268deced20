"""The query `eventStats`: the numbers of `reports`, for callers who are allowed to see them.

The rules are requirements 6.6 and 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.event_filters import given, sent, text_filters
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
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import PurgedError, Report, rollup_report
from signal_pipeline.rollups.models import Models

MAX_ROWS = 10_000
ENTITY_KEYS = {"entity", "entity-type"}
FILTER_KEYS = {key.column: key.name for key in KEYS.values() if key.name != "day"}
ROW_KEYS = ("week", *FILTER_KEYS)


@dataclass(frozen=True, slots=True)
class Question:
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
        asked = {key.value for key in self.group_by} | ({self.by.value} if self.by else set())
        return asked | set(self.where)


def question(
    first: date,
    last: date,
    by: StatsBy | None,
    group_by: Sequence[StatsKey] | None,
    period: StatsPeriod | None,
    wanted: Mapping[str, str],
) -> Question:
    """Check a question and return it. Raises ApiError.

    `wanted` are the filters, by the names of `StatsFilter`.
    """
    if (by is None) == (not group_by):
        raise bad_input("name a rollup with `by`, or keys with `groupBy`: one of them")
    if first > last:
        raise bad_input("`from` is after `to`")
    where = {FILTER_KEYS[name]: value for name, value in wanted.items()}
    if by is not None and not where.keys() <= {"app", "event-type"}:
        raise bad_input(
            "with `by`, only app and event type can be filtered; `groupBy` takes every filter"
        )
    if by is None and period is not None:
        raise bad_input("`period` goes with `by`; with `groupBy`, DAY is a key")
    return Question(
        first, last, by, list(dict.fromkeys(group_by or ())), period or StatsPeriod.DAY, where
    )


async def event_stats(context: RequestContext, asked: Question) -> EventStats:
    """Return aggregates from a rollup, or counted exactly from raw events.

    Raises ApiError for callers who may not see them.
    """
    _check_allowed(context, asked.keys)
    return await asyncio.get_running_loop().run_in_executor(
        context.services.readers,
        _answer,
        context.services.database,
        context.services.models,
        asked,
        context.is_admin,
    )


def _answer(database: Database, models: Models, asked: Question, is_admin: bool) -> EventStats:
    report = _report(database, models, asked, hide_small=not is_admin)
    if len(report.rows) > MAX_ROWS:
        raise bad_input(f"more than {MAX_ROWS} rows: ask for fewer days, or filter")
    return EventStats(
        rows=_rows(report, asked), suppressed_rows=report.left_out, notes=report.notes
    )


def filters_of(
    wanted: StatsFilter | None, app: str | None, event_type: str | None
) -> dict[str, str]:
    """Return the filters of a question in one mapping.

    `app` and `eventType` can be arguments beside `filter`. Raises ApiError if the two disagree, or
    if no event can hold a text.
    """
    inside, beside = given(wanted), sent({"app_name": app, "event_type": event_type})
    if any(inside.get(name, value) != value for name, value in beside.items()):
        raise bad_input("`filter` names another app or event type than the argument beside it")
    return text_filters({**inside, **beside}, FILTER_KEYS)


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
            "one eventStats per request: a second answer could give back what the first left out"
        )
    context.stats_answered = True


def _report(database: Database, models: Models, asked: Question, *, hide_small: bool) -> Report:
    """Ask `reports`. Raises ApiError if it cannot answer."""
    if asked.by is not None and f"daily_{asked.by.value}_activity" not in models:
        raise bad_input("this server has no such rollup")
    try:
        if asked.by is None:
            keys = [key.value for key in asked.group_by]
            return raw_report(
                database, keys, asked.where, asked.first, asked.last, hide_small=hide_small
            )
        return rollup_report(
            database,
            models,
            asked.by.value,
            asked.first,
            asked.last,
            by=asked.period.value,
            app=asked.where.get("app"),
            event_type=asked.where.get("event-type"),
            hide_small=hide_small,
        )
    except PurgedError:
        raise bad_input(
            "raw events of this window are purged in part: ask a rollup with `by`"
        ) from None


def _rows(report: Report, asked: Question) -> list[EventStatsRow]:
    one_day = asked.first if asked.first == asked.last else None
    return [
        _row(cast("dict[str, Any]", row), labels, one_day)
        for row, labels in zip(report.rows.to_dict("records"), report.labels, strict=True)
    ]


def _row(row: dict[str, Any], labels: Sequence[str], one_day: date | None) -> EventStatsRow:
    """Return one row of a report. Column names say what the numbers are; see `reports`."""
    users, sessions = row.get("users"), row.get("sessions")
    summed_sessions = row.get(
        "summed_daily_sessions", sessions if row.get("activity_date") else None
    )
    return EventStatsRow(
        day=row.get("activity_date", one_day),
        **{name: row.get(name) for name in ROW_KEYS},
        events=int(row["events"]),
        users=None if users is None else int(users),
        summed_daily_users=int(row["summed_daily_users"] if users is None else users),
        sessions=None if sessions is None else int(sessions),
        summed_daily_sessions=None if summed_sessions is None else int(summed_sessions),
        states=[StatsState(label if label != "exact" else "fresh") for label in labels],
    )
