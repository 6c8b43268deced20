"""The UTC days around the one on which a test runs.

They are functions, because a run of the tests can cross midnight: what a module read when it was
imported is the day before by then. A constant holds a day only where any recent one would do.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

RETENTION_DAYS = 180


def today() -> date:
    """Today's UTC date by this machine's clock."""
    return datetime.now(UTC).date()


def days_ago(days: int) -> date:
    """The UTC date so many days before today."""
    return today() - timedelta(days=days)


def yesterday() -> date:
    """Yesterday's UTC date."""
    return days_ago(1)


def tomorrow() -> date:
    """Tomorrow's UTC date."""
    return days_ago(-1)


def due_day(overdue: int = 1) -> date:
    """A day that has been due for purging for `overdue` days."""
    return days_ago(RETENTION_DAYS + overdue)


def wait_out_midnight(margin: timedelta) -> None:
    """Wait for the next UTC day if it begins within the margin."""
    while (datetime.now(UTC) + margin).date() != today():
        time.sleep(0.5)
