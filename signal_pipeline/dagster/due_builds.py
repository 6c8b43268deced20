"""Decides which days to build now, and in which runs. Pure: no Dagster, no SQL.

The facts are queried again at each tick, so a missed tick heals itself. There are three guards. A
day in flight is not asked for twice. A day that was just built pauses, however often it changes. A
rollup that fails on a day is tried again with back-off (even if the day goes on changing), and
rests after five failures; the day's other rollups do not wait for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from signal_pipeline.days.calendar import days_between
from signal_pipeline.days.freshness import DayStatus

PAUSE_FACTOR = 10
MIN_PAUSE = timedelta(seconds=10)  # A run costs several seconds, however small its day is.
MAX_ATTEMPTS = 5
# The caller reads no failures older than this, so a day that was given up is tried again later.
ATTEMPTS_WINDOW = timedelta(days=1)
FIRST_BACKOFF = timedelta(minutes=1)
MAX_BACKOFF = timedelta(hours=1)
MAX_DAYS_PER_RUN = 60
LONGEST_GAP = timedelta(days=31)
MAX_RUNS_PER_TICK = 4


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed run over the days `first` to `last`, inclusive.

    `failed` holds the days at fault, or is None if the run could not name them. Where only some
    rollups of a day failed, `rollups` holds them.
    """

    first: date
    last: date
    ended_at: datetime
    failed: frozenset[date] | None = None
    rollups: Mapping[date, frozenset[str]] = field(default_factory=dict)

    def has_tried(self, day: date, rollup: str) -> bool:
        """Return whether the run failed for this rollup of this day."""
        if day in self.rollups:
            return rollup in self.rollups[day]
        return self.first <= day <= self.last if self.failed is None else day in self.failed


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A run to ask for: its days, the rollups to build, and its key.

    The key changes with the facts: the days, their versions, builds and failures, and the rollups.
    """

    days: Sequence[date]
    rollups: Sequence[str]
    key: str


def backoff(failures: int) -> timedelta:
    """Return how long to wait after this many failures in a row, at least one.

    The wait begins at a minute and doubles with each failure, up to an hour.
    """
    return min(FIRST_BACKOFF * (1 << failures - 1), MAX_BACKOFF)


def attempts(status: DayStatus, rollup: str, failed: Iterable[FailedRun]) -> list[FailedRun]:
    """Return the runs that failed for this rollup of a day since its last successful build."""
    built_at = status.builds.get(rollup)
    return [
        run
        for run in failed
        if run.has_tried(status.day, rollup) and (built_at is None or run.ended_at > built_at)
    ]


def backs_off(status: DayStatus, rollup: str, failed: Iterable[FailedRun], now: datetime) -> bool:
    """Return whether a rollup of a day must not be tried now, because it failed.

    After each failure it waits for its back-off, even if the day changes: today changes each second
    on a live site. After the fifth failure it waits until the day changes, and for at least the
    longest back-off. `failed` holds only the runs that failed in the last 24 hours, so an unchanged
    day is tried again once fewer than five of its failures are that recent.
    """
    tries = attempts(status, rollup, failed)
    if not tries:
        return False
    last = max(run.ended_at for run in tries)
    if len(tries) < MAX_ATTEMPTS:
        return now < last + backoff(len(tries))
    return status.changed_at <= last or now < last + MAX_BACKOFF


def pauses(status: DayStatus, now: datetime) -> bool:
    """Return whether a day was built so recently that other days come first.

    After a build, a day rests for ten times that build's duration (at least 10 s), so that a busy
    day does not starve the others.
    """
    if status.built_at is None:
        return False
    pause = max(MIN_PAUSE, timedelta(seconds=PAUSE_FACTOR * status.build_seconds))
    return now < status.built_at + pause


def _without_false_times(
    stale: Iterable[DayStatus], failed: Iterable[FailedRun], now: datetime
) -> tuple[list[DayStatus], list[FailedRun]]:
    """Leave out builds and failures with a time in the future: a clock was ahead when they ended.

    Nobody knows when they really happened. So they are not counted, and nothing waits for the
    future time.
    """
    statuses = [
        replace(status, builds={name: at for name, at in status.builds.items() if at <= now})
        for status in stale
    ]
    return statuses, [run for run in failed if run.ended_at <= now]


def given_up(stale: Iterable[DayStatus], failed: Sequence[FailedRun], now: datetime) -> list[date]:
    """Return the days of which a rollup failed too often to be asked for again soon."""
    stale, failed = _without_false_times(stale, failed, now)
    return [
        status.day
        for status in stale
        if any(
            len(attempts(status, rollup, failed)) >= MAX_ATTEMPTS
            and backs_off(status, rollup, failed, now)
            for rollup in status.to_build
        )
    ]


def nightly_days(
    statuses: Iterable[DayStatus], first_kept: date, installed: date, yesterday: date
) -> list[date]:
    """Return the days that a nightly run builds, oldest first.

    These are yesterday, the days with a stale or missing rollup, and the gaps. A gap is a day that
    has no row although an earlier day has one: it had no event, and no run built it. It is built
    now, so that its rollups say zero instead of unknown.

    Gaps before `first_kept`, and gaps more than a month old, are left alone. So are gaps before
    `installed`, the date of the first migration: nobody recorded the events of those days, so they
    stay unknown.
    """
    known = {status.day: status for status in statuses}
    wanted = {day for day, status in known.items() if status.wants_build and day <= yesterday}
    first = max(min(known, default=yesterday), installed, first_kept, yesterday - LONGEST_GAP)
    gaps = {day for day in days_between(first, yesterday) if day not in known}
    return sorted(wanted | gaps | {yesterday})


def range_requests(
    stale: Iterable[DayStatus],
    in_flight: Iterable[tuple[date, date]],
    failed: Sequence[FailedRun],
    now: datetime,
) -> list[RangeRequest]:
    """Return at most MAX_RUNS_PER_TICK runs of at most MAX_DAYS_PER_RUN days.

    The run with the newest days comes first; within a run the oldest day comes first. No run
    includes a day that is in flight, or a rollup of a day that backs off. A day of which a rollup
    has failed gets a run of its own, so that a day which kills its run does not hold up the others.
    A day that pauses causes no run. But a run whose days lie around it builds the pausing day too,
    unless a rollup of that day has failed. Fresh days between the days of a run are left alone.
    Times after `now` are those of a clock that was ahead, and hold up nothing.
    """
    stale, failed = _without_false_times(stale, failed, now)
    newest_first = sorted(stale, key=lambda status: status.day, reverse=True)
    due = {status.day: _due_rollups(status, failed, now) for status in newest_first}
    in_flight = list(in_flight)
    days = [
        status
        for status in newest_first
        if due[status.day]
        and not pauses(status, now)
        and not any(first <= status.day <= last for first, last in in_flight)
    ]
    alone = [status.day for status in newest_first if _most_attempts(status, failed)]
    taken = [*in_flight, *zip(alone, alone, strict=True)]
    chunks: list[list[DayStatus]] = []
    for status in days:
        # A chunk never spans a day in flight: its run would wait there for the day's lock. Nor does
        # it span a day of which a rollup has failed: its run would build that rollup.
        if (
            chunks
            and len(chunks[-1]) < MAX_DAYS_PER_RUN
            and not _most_attempts(status, failed)
            and not _most_attempts(chunks[-1][-1], failed)
            and not _spans_taken_day(status, chunks[-1][-1], taken)
        ):
            chunks[-1].append(status)
        else:
            chunks.append([status])
    return [_request(chunk, due, failed) for chunk in chunks[:MAX_RUNS_PER_TICK]]


def _due_rollups(status: DayStatus, failed: Sequence[FailedRun], now: datetime) -> list[str]:
    return [name for name in status.to_build if not backs_off(status, name, failed, now)]


def _most_attempts(status: DayStatus, failed: Sequence[FailedRun]) -> int:
    return max((len(attempts(status, name, failed)) for name in status.to_build), default=0)


def _spans_taken_day(
    older: DayStatus, newer: DayStatus, taken: Iterable[tuple[date, date]]
) -> bool:
    return any(first < newer.day and last > older.day for first, last in taken)


def _request(
    chunk: Sequence[DayStatus], due: Mapping[date, Sequence[str]], failed: Sequence[FailedRun]
) -> RangeRequest:
    days = sorted(status.day for status in chunk)
    rollups = sorted({name for status in chunk for name in due[status.day]})
    facts = [(str(s.day), s.version, _most_attempts(s, failed), str(s.built_at)) for s in chunk]
    digest = hashlib.sha256(repr((facts, rollups)).encode()).hexdigest()[:16]
    return RangeRequest(days, rollups, f"{days[0]}..{days[-1]}@{digest}")
