"""Decides which raw days are past their retention, by more than a clock's word.

It is pure: no Dagster, no SQL. If a clock jumped a year ahead, every day would be old at once. So
the age of a day is counted in days that were seen: UTC dates on which Signal was at work or from
which it has events. A date that left no sign does not count until a person has confirmed that it
passed. The facts come from `seen_days.py`. The reasons are in docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from signal_pipeline.days.calendar import days_between, first_kept_day
from signal_pipeline.days.coverage import days_note

MAX_CLOCK_DIFFERENCE = timedelta(hours=1)
BY_THE_CLOCK_ALONE = "due by the clock alone"


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """What two clocks say, and the UTC dates that left a sign.

    `installed` is the date of the first migration.
    """

    machine: datetime
    database: datetime
    installed: date
    seen: frozenset[date] = field(default_factory=frozenset)

    @property
    def clocks_differ(self) -> bool:
        """Return whether the clocks differ by more than an hour."""
        return abs(self.machine - self.database) > MAX_CLOCK_DIFFERENCE

    @property
    def today(self) -> date:
        """Return the UTC date of the clock that is behind.

        A day that is not due by that clock can wait.
        """
        return min(self.machine, self.database).astimezone(UTC).date()

    @property
    def latest(self) -> date:
        """Return the UTC date of the clock that is ahead, if the clocks differ.

        Otherwise return today: two good clocks can stand on either side of midnight, which is no
        jump.
        """
        return (
            max(self.machine, self.database).astimezone(UTC).date()
            if self.clocks_differ
            else self.today
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why raw days that are past their retention by a clock alone are kept.

    `confirmable` is how many of them a person can confirm: 0 while the clocks differ.
    """

    reason: str
    confirmable: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which days are past their retention.

    Days before `by_clock` are past their retention by a clock. Those of them that are before
    `first_kept` are past it by the signs too. `unseen` holds the dates that left no sign, oldest
    first. It begins at the first kept day or at the first sign that counts, whichever is later.
    """

    facts: ClockFacts
    first_kept: date
    by_clock: date
    unseen: list[date]

    def due_by_clock_alone(self, due: Iterable[date]) -> list[date]:
        """Return those days of `due` that are not due by the signs too.

        `due` holds days that are due by a clock.
        """
        return [day for day in due if day >= self.first_kept]

    def refusal(self, clock_only: list[date]) -> Refusal | None:
        """Return why the days `clock_only` stay, or None if nothing is refused."""
        if self.facts.clocks_differ:
            return Refusal(
                f"PostgreSQL's clock says {self.facts.database:%Y-%m-%d %H:%M} UTC and this"
                f" machine's {self.facts.machine:%Y-%m-%d %H:%M}: days that are due by the later"
                f" one alone are kept{_days(clock_only)}. Set both clocks right; the next run of"
                " the retention goes on by itself."
            )
        if not clock_only:
            return None
        (unseen,) = days_note(self.unseen, "have passed by the clock without any event or run")
        return Refusal(
            f"{len(clock_only)} raw day(s) are past their retention by the clock alone, and are"
            f" kept{_days(clock_only)}. {unseen}. If today really is {self.facts.today},"
            " confirm them once; else set the clock right.",
            len(clock_only),
        )


def judge(facts: ClockFacts, retention_days: int) -> Judgement:
    """Judge which days are past a retention of `retention_days` days."""
    seen = _seen_newest_first(facts)
    first_seen = seen[-1]
    if len(seen) > retention_days:
        first_kept = seen[retention_days]
    else:  # Nothing could be seen before the installation, so every date before it counts.
        first_kept = first_seen - timedelta(days=retention_days + 1 - len(seen))
    known = {*seen}
    unseen = [
        day for day in days_between(max(first_kept, first_seen), facts.today) if day not in known
    ]
    return Judgement(facts, first_kept, first_kept_day(facts.latest, retention_days), unseen)


def _seen_newest_first(facts: ClockFacts) -> list[date]:
    """Return the dates with a sign, from the installation's date to today, newest first.

    Signs before that span are mostly of replayed events; signs after it come from a clock that was
    wrong.
    """
    past = {facts.today, *(day for day in facts.seen if day < facts.today)}
    # If a clock was set back to before the installation, every sign before today counts.
    since = facts.installed if facts.installed <= facts.today else min(past)
    return sorted({since, *(day for day in past if day >= since)}, reverse=True)


def _days(clock_only: list[date]) -> str:
    return f" ({clock_only[0]} to {clock_only[-1]})" if clock_only else ""
