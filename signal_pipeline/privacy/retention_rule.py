"""Which raw days are past their retention, by more than a clock's word. Pure; no Dagster, no SQL.

A clock that jumps a year ahead would make every day old at once. So the age of a day is counted in
days that were seen: UTC dates on which Signal was at work or from which it has events. A date that
left no sign counts only once a person has confirmed that it passed. Facts: `seen_days.py`. Why:
docs/decisions.md.
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
    """What two clocks say, and the UTC dates that left a sign. `installed`: the date of the first
    migration.
    """

    machine: datetime
    database: datetime
    installed: date
    seen: frozenset[date] = field(default_factory=frozenset)

    @property
    def apart(self) -> bool:
        """Whether the clocks differ by more than an hour."""
        return abs(self.machine - self.database) > MAX_CLOCK_DIFFERENCE

    @property
    def today(self) -> date:
        """The UTC date of the clock that is behind: what is not due by it can wait."""
        return min(self.machine, self.database).astimezone(UTC).date()

    @property
    def latest(self) -> date:
        """The UTC date of the clock that is ahead, where they are apart; midnight between two good
        ones is no jump.
        """
        return max(self.machine, self.database).astimezone(UTC).date() if self.apart else self.today


@dataclass(frozen=True, slots=True)
class Judgement:
    """Days before `first_kept` are past their retention by clock and signs, days before `by_clock`
    by a clock.

    `unseen` are the dates since the first kept day that left no sign, oldest first.
    """

    facts: ClockFacts
    first_kept: date
    by_clock: date
    unseen: list[date]

    def held(self, due: Iterable[date]) -> list[date]:
        """Of the days that are due by a clock, those that nothing else shows to be due."""
        return [day for day in due if day >= self.first_kept]

    def refusal(self, held: list[date]) -> str | None:
        """Why those days stay, and what to do; None if nothing is refused."""
        if self.facts.apart:
            return (
                f"PostgreSQL's clock says {self.facts.database:%Y-%m-%d %H:%M} UTC and this"
                f" machine's {self.facts.machine:%Y-%m-%d %H:%M}: days that are due by the later"
                f" one alone are kept{_days(held)}. Set both clocks right; the next run of the"
                " retention goes on by itself."
            )
        if not held:
            return None
        (unseen,) = days_note(self.unseen, "have passed by the clock without any event or run")
        return (
            f"{len(held)} raw day(s) are past their retention by the clock alone, and are"
            f" kept{_days(held)}. {unseen}. If today really is {self.facts.today}, run"
            f" `signal-pipeline retention --confirm-days {len(held)}` once, or materialize"
            f" expired_raw_events with the config `confirm_days: {len(held)}`; else set the clock"
            " right."
        )


def judge(facts: ClockFacts, retention_days: int) -> Judgement:
    """Judge which days are past a retention of so many days."""
    seen = _seen_newest_first(facts)
    first_seen = seen[-1]
    if len(seen) > retention_days:
        first_kept = seen[retention_days]
    else:  # Nothing could be seen before the installation: its earlier days count as they are.
        first_kept = first_seen - timedelta(days=retention_days + 1 - len(seen))
    known = {*seen}
    unseen = [
        day for day in days_between(max(first_kept, first_seen), facts.today) if day not in known
    ]
    return Judgement(facts, first_kept, first_kept_day(facts.latest, retention_days), unseen)


def _seen_newest_first(facts: ClockFacts) -> list[date]:
    """The dates with a sign, from the installation's to today; signs outside are of a clock that
    was wrong.
    """
    past = {facts.today, *(day for day in facts.seen if day < facts.today)}
    # A clock may have been set back to a date before the installation: then all its signs count.
    since = facts.installed if facts.installed <= facts.today else min(past)
    return sorted({since, *(day for day in past if day >= since)}, reverse=True)


def _days(held: list[date]) -> str:
    return f" ({held[0]} to {held[-1]})" if held else ""
