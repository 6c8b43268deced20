"""Which stale days to ask for now, and in which runs. Pure decisions over facts that others read; no Dagster, no SQL.

The facts are queried again at each tick, so a missed tick heals itself. Guards: a day in flight is not asked for twice; a busy
day is not rebuilt without pause; a failing day is tried again with back-off, and not for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from signal_pipeline.store.freshness import DayStatus

PAUSE_FACTOR = 10
MAX_ATTEMPTS = 5
FIRST_BACKOFF = timedelta(minutes=1)
MAX_DAYS_PER_RUN = 60
MAX_RUNS_PER_TICK = 4


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed run over the days `first` to `last`, inclusive."""

    first: date
    last: date
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A day that wants a build, with what is known of its past builds. `seconds`: its last build took so long."""

    status: DayStatus
    built_at: datetime | None
    seconds: float


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A run to ask for: its days, the rollups that want a build, and a key that is new whenever the facts are."""

    days: Sequence[date]
    rollups: Sequence[str]
    key: str


def attempts(status: DayStatus, failed: Iterable[FailedRun]) -> list[FailedRun]:
    """The failed runs that tried this day since its raw events last changed."""
    return [run for run in failed if run.first <= status.day <= run.last and run.ended_at > status.changed_at]


def may_ask(candidate: Candidate, failed: Iterable[FailedRun], now: datetime) -> bool:
    """Whether a stale day may be asked for at this time."""
    tries = attempts(candidate.status, failed)
    if len(tries) >= MAX_ATTEMPTS:
        return False
    if tries and now < max(t.ended_at for t in tries) + FIRST_BACKOFF * 2 ** (len(tries) - 1):
        return False
    if candidate.built_at is None:
        return True
    return now >= candidate.built_at + timedelta(seconds=PAUSE_FACTOR * candidate.seconds)


def range_requests(
    candidates: Iterable[Candidate],
    in_flight: Iterable[tuple[date, date]],
    failed: Sequence[FailedRun],
    now: datetime,
) -> list[RangeRequest]:
    """Few bounded runs, newest days first; a run's fresh days in between are left alone by the run itself."""
    taken = list(in_flight)
    days = [
        candidate
        for candidate in sorted(candidates, key=lambda c: c.status.day, reverse=True)
        if may_ask(candidate, failed, now) and not any(first <= candidate.status.day <= last for first, last in taken)
    ]
    chunks: list[list[Candidate]] = []
    for candidate in days:
        # A chunk never spans a day in flight: its run would wait there for the day's lock.
        if chunks and len(chunks[-1]) < MAX_DAYS_PER_RUN and not _between(candidate, chunks[-1][-1], taken):
            chunks[-1].append(candidate)
        else:
            chunks.append([candidate])
    return [_request(chunk, failed) for chunk in chunks[:MAX_RUNS_PER_TICK]]


def _between(older: Candidate, newer: Candidate, taken: Iterable[tuple[date, date]]) -> bool:
    return any(first < newer.status.day and last > older.status.day for first, last in taken)


def _request(chunk: Sequence[Candidate], failed: Sequence[FailedRun]) -> RangeRequest:
    days = sorted(candidate.status.day for candidate in chunk)
    rollups = sorted({name for candidate in chunk for name in _wanted(candidate.status.rollups)})
    facts = [(str(c.status.day), c.status.version, len(attempts(c.status, failed)), str(c.built_at)) for c in chunk]
    digest = hashlib.sha256(repr((facts, rollups)).encode()).hexdigest()[:16]
    return RangeRequest(days, rollups, f"{days[0]}..{days[-1]}@{digest}")


def _wanted(rollups: Mapping[str, str]) -> list[str]:
    return [name for name, freshness in rollups.items() if freshness in ("stale", "missing")]
