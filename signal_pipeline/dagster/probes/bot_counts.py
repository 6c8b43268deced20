"""The probe of bots: whether as many are dropped as usual, and of which families.

For the caller a dropped bot is no error, so this probe tells the operator. The statistics are in
`bot_shares.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from signal_pipeline.dagster.names import RAW_EVENTS
from signal_pipeline.dagster.probes.bot_shares import (
    HISTORY_DAYS,
    BotChange,
    BotDay,
    bot_changes,
    has_history,
)
from signal_pipeline.dagster.probes.probe import RECENT_DAYS, Finding, Probe
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.ingest.books import NOT_RECORDED
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

TOP_FAMILIES = 3


class _AppDay(NamedTuple):
    """A row of `bot_days.sql`."""

    app_name: str
    day: date
    received: int
    bots: int
    sends: float
    is_looked_at: bool


def bots_are_steady(connection: Connection) -> Finding:
    """Check that each app drops about as many bots as in its past weeks.

    Requirement 3.5. A new list of crawlers can take people for bots. The probe looks at recent
    days, and at older days to which bots were added lately.
    """
    today = today_utc()
    apps = _days_by_app(connection, today)
    changes = [
        (app, each)
        for app, (days, looked_at) in apps.items()
        for each in bot_changes(days, looked_at, today)
    ]
    new = [
        app
        for app, (days, looked_at) in apps.items()
        if not any(has_history(days, day) for day in looked_at)
    ]
    if len(new) == len(apps):
        return Finding(True, "Unknown: no app has a week of history yet to compare its bots with.")
    figures: dict[str, object] = {"no_history_yet": ", ".join(new)} if new else {}
    if not changes:
        rest = f" Unknown without a week of history: {', '.join(new)}." if new else ""
        return Finding(
            True, f"No app has more or fewer bots than its past weeks suggest.{rest}", figures
        )
    changes.sort(key=lambda each: each[1].first)
    figures["app_days"] = {_app_days(app, each): _shares(each) for app, each in changes}
    figures["families"] = _families(connection, changes)
    more = sum(each.bots > each.usual for _, each in changes)
    app, first = changes[0]
    return Finding(
        False,
        f"More bots than an app's past four weeks suggest in {more} case(s), fewer in"
        f" {len(changes) - more}; the first: {_app_days(app, first)}, {_shares(first)}. People who"
        " are taken for bots are lost, and bots that are taken for people inflate every number. The"
        " families show whether the last release changed the rules or the list of crawlers"
        " (docs/data-team.md). A new level that lasts counts as usual within three weeks.",
        figures,
    )


def _days_by_app(
    connection: Connection, today: date
) -> dict[str, tuple[dict[date, BotDay], list[date]]]:
    """Return for each app its days by the books, and which of these days to look at.

    Apps without a day to look at are left out.
    """
    facts = {"first": today - timedelta(days=RECENT_DAYS), "last": today, "history": HISTORY_DAYS}
    apps: dict[str, tuple[dict[date, BotDay], list[date]]] = {}
    cursor = connection.cursor(row_factory=class_row(_AppDay))
    for row in cursor.execute(query(__package__, "bot_days"), facts):
        days, looked_at = apps.setdefault(row.app_name, ({}, []))
        days[row.day] = BotDay(row.received, row.bots, row.sends)
        if row.is_looked_at:
            looked_at.append(row.day)
    return {app: (days, looked_at) for app, (days, looked_at) in apps.items() if looked_at}


def _app_days(app: str, change: BotChange) -> str:
    return f"{change.first}{'' if change.last == change.first else f' to {change.last}'} {app}"


def _shares(change: BotChange) -> str:
    return (
        f"{change.bots / change.received:.1%} of {change.received:,} ({change.bots:,}),"
        f" usually {change.usual / change.received:.1%}"
    )


def _families(connection: Connection, changes: Sequence[tuple[str, BotChange]]) -> dict[str, str]:
    """Return the families that changed most, each with its usual number."""
    facts = {
        "apps": [app for app, _ in changes],
        "firsts": [each.first for _, each in changes],
        "lasts": [each.last for _, each in changes],
        "history": HISTORY_DAYS,
        "not_recorded": NOT_RECORDED,
    }
    named: dict[tuple[str, date], list[str]] = defaultdict(list)
    rows = connection.execute(query(__package__, "bot_families"), facts).fetchall()
    for app, first, browser, system, device, events, usual in rows:
        before = "unknown" if usual is None else f"{usual:,.1f}"
        named[app, first].append(f"{browser} on {system}, {device}: {events:,} (usually {before})")
    return {
        _app_days(app, each): "; ".join(named[app, each.first][:TOP_FAMILIES])
        for app, each in changes
    }


PROBES = [
    Probe(
        "bots_are_steady",
        RAW_EVENTS,
        "WARN",
        "Each app drops about as many bots as in its past weeks.",
        lambda connection, settings: bots_are_steady(connection),
    )
]
