"""The probes of builds: whether a rollup lacks yesterday, or a day waits too long for its build."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from signal_pipeline.dagster.due_builds import LONGEST_GAP
from signal_pipeline.dagster.probes.probe import Finding, Probe
from signal_pipeline.days.calendar import installed_day, today_utc, window
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

MAX_WAIT = timedelta(hours=1)
# A time further ahead than this comes from a clock that was ahead. If such a time counted as
# recent, it would excuse every wait until that time has come.
MOST_AHEAD = timedelta(hours=1)
# This long after its end, a day must have been built, even if it goes on changing.
MAX_WAIT_AFTER_END = timedelta(hours=6)


def yesterday_is_built(connection: Connection, checksums: Mapping[str, str]) -> Finding:
    """Check that yesterday is fresh in every rollup, an hour after its last change at the latest.

    If yesterday has no row, the hour begins when yesterday ends. A backfill of other days must not
    hide that yesterday is missing.
    """
    yesterday, now = today_utc() - timedelta(days=1), datetime.now(UTC)
    statuses = day_statuses(connection, checksums, yesterday, yesterday)
    if not statuses and installed_day(connection) > yesterday:
        return Finding(
            True,
            "Signal was installed today: no nightly run that would build yesterday has come yet.",
        )
    if not statuses and window(yesterday)[1] > now - MAX_WAIT:
        return Finding(
            True,
            f"Yesterday, {yesterday}, ended less than an hour ago: its nightly run can still come.",
        )
    if not statuses:
        return Finding(
            False,
            f"Yesterday, {yesterday}, has no row at all: no event arrived and no run built it."
            f" Run `signal-pipeline backfill --from {yesterday} --to {yesterday}`.",
        )
    late = {name: state for name, state in statuses[0].rollups.items() if state != "fresh"}
    if not late:
        return Finding(True, f"Every rollup of {yesterday} is fresh.")
    if _is_recent(statuses[0].changed_at, now):
        return Finding(
            True,
            f"{len(late)} rollup(s) of {yesterday} are not fresh, but events of that day changed"
            " less than an hour ago: the next build can still come.",
            {"rollups": late},
        )
    return Finding(
        False,
        f"{len(late)} rollup(s) of {yesterday} are not fresh. Is the daemon running? Rebuild with"
        f" `signal-pipeline backfill --from {yesterday} --to {yesterday}`.",
        {"rollups": late},
    )


def _is_recent(at: datetime, now: datetime) -> bool:
    """True for a time of the last hour, and for one that is a little ahead, as clocks differ."""
    return now - MAX_WAIT <= at <= now + MOST_AHEAD


def no_day_waits(
    connection: Connection, checksums: Mapping[str, str], *, job: str = "rollups_job"
) -> Finding:
    """Check that every kept day before today is fresh again within an hour of its last change.

    The check finds days that were forgotten after failed builds. A day that goes on changing must
    have been built within six hours of its end. A changed model makes every day stale at once; for
    these days the hour begins with the first build by that model. Before that build they count as
    waiting, because perhaps the model cannot build at all. `job` is the name of the job that
    builds.
    """
    now = datetime.now(UTC)
    waiting: set[date] = set()
    for rollup, checksum in checksums.items():
        waiting |= _waiting_days(connection, rollup, checksum, now)
    if not waiting:
        return Finding(True, "No day waits for a build for too long.")
    first, last = min(waiting), max(waiting)
    return Finding(
        False,
        f"{len(waiting)} day(s) wait for a build. They changed more than an hour ago, or ended more"
        " than six hours ago, or a changed model has not built any day yet. The first is"
        f" {first}. Is the daemon running? Look for failed runs of {job}, then run"
        f" `signal-pipeline backfill --from {first} --to {last} --plan`.",
        {"days": [str(day) for day in sorted(waiting)]},
    )


def _waiting_days(connection: Connection, rollup: str, checksum: str, now: datetime) -> set[date]:
    """Return the open days before today that have waited for a build of this rollup for too long.

    Such a day wants a build, and last changed more than an hour ago; or it ended more than six
    hours ago, and was not built since. A day that waits only for a changed model, or for a new
    rollup, is left out for an hour after the first build by that model.
    """
    today = today_utc()
    yesterday = today - timedelta(days=1)
    statuses = day_statuses(connection, {rollup: checksum}, last=yesterday)
    changed_at = {status.day: status.changed_at for status in statuses if status.wants_build}
    facts = {
        "rollup": rollup,
        "checksum": checksum,
        "today": today,
        "days": list(changed_at),
        "ended_before": now - MAX_WAIT_AFTER_END,
        "gaps_from": yesterday - LONGEST_GAP,
    }
    unbuilt = connection.execute(query(__package__, "unbuilt_days"), facts).fetchall()
    waits = connection.execute(query(__package__, "model_waits"), facts).fetchall()
    waiting = {day for day, changed in changed_at.items() if not _is_recent(changed, now)}
    waiting |= {day for (day,) in unbuilt}
    return waiting - {day for day, since in waits if _is_recent(since, now)}


def rollup_probes(rollup: str, checksum: str, *, job: str) -> list[Probe]:
    """Return the probes of one rollup; `checksum` is that of its present model."""
    checksums = {rollup: checksum}
    return [
        Probe(
            "yesterday_is_built",
            rollup,
            "ERROR",
            "The rollup of yesterday is fresh, an hour after its last change at the latest.",
            lambda connection, settings: yesterday_is_built(connection, checksums),
        ),
        Probe(
            "no_day_waits",
            rollup,
            "ERROR",
            "Every kept day before today is fresh again within an hour of its last change, and was"
            " built within six hours of its end.",
            lambda connection, settings: no_day_waits(connection, checksums, job=job),
        ),
    ]
