"""The probes: questions about the stored data whose answer is good or bad.

A bad answer says what to do. There is no Dagster here: `checks.py` makes asset checks of the
probes. The numbers in findings are counts and shares, never a value of an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from signal_pipeline.dagster.bot_shares import MIN_EVENTS
from signal_pipeline.days.calendar import first_kept_day, installed_day, today_utc
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.days.quality import DEGRADED_SHARE, DayQuality, day_identities, day_quality
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy.retention import OVERDUE_DAYS, due_days, judge_due_days
from signal_pipeline.settings import Settings

RECENT_DAYS = 7
MAX_DROP_SHARE = 0.2
# Per app and day. Fewer can be chance, although on a quiet day they can be 1 %, and label it.
MIN_GAPS = 10
MAX_TOP_SHARE = 0.5
MAX_TOP_SESSIONS = 200
MAX_HASHES_PER_SESSION = 2
MAX_WAIT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of a probe: whether it is good, a sentence for the reader, and figures."""

    passed: bool
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def books_reconcile(connection: Connection) -> Finding:
    """Check that the raw events of every open day are those that the books and the builds counted.

    Invariants 1 and 10. Counts the raw events of all kept days.
    """
    rows = connection.execute(query(__package__, "probes/books")).fetchall()
    if not rows:
        return Finding(
            True, "Every open day holds the raw events that its books and its builds say."
        )
    listed = {
        str(day): (
            f"books {expected:,}, raw {events:,}"
            + ("" if counted is None else f", built from {counted:,}")
        )
        for day, expected, events, counted in rows
    }
    return Finding(
        False,
        f"{len(rows)} day(s) do not hold the raw events that their books or their builds say; the"
        f" first is {rows[0][0]}. Restore the missing rows from a backup; builds of such days are"
        " refused meanwhile.",
        {"days": listed},
    )


def nothing_overdue(connection: Connection, settings: Settings) -> Finding:
    """Check that no raw day is seven days overdue, and that the retention is not refused.

    Either is a privacy alarm (requirement 9.2). The retention is refused if it believes no clock.
    """
    judgement, held = judge_due_days(connection, settings.retention_days)
    found, refusal = [], judgement.refusal(held)
    overdue = due_days(connection, judgement.by_clock - timedelta(days=OVERDUE_DAYS))
    late = [day for day in overdue if not refusal or day not in held]
    if refusal:
        found.append(f"THE RETENTION IS REFUSED: {refusal}")
    if late:
        found.append(
            f"PRIVACY ALARM: {len(late)} raw day(s) are overdue by {OVERDUE_DAYS} days or more, the"
            f" first is {late[0]}. See `signal-pipeline retention --dry-run` for the reason;"
            " rebuild the day with `backfill`, or delete it with `signal-pipeline retention"
            f" --purge-incomplete {late[0]} --reason TEXT`."
        )
    if not found:
        return Finding(True, f"No raw day is {OVERDUE_DAYS} days overdue.")
    days = sorted({*late, *held}) if refusal else late
    return Finding(False, " ".join(found), {"days": [str(day) for day in days]})


def nothing_expired(connection: Connection, settings: Settings) -> Finding:
    """Check that a run of the retention has left no raw day that is due."""
    due = due_days(connection, first_kept_day(today_utc(), settings.retention_days))
    if not due:
        return Finding(True, f"No raw event is older than {settings.retention_days} days.")
    return Finding(
        False,
        f"{len(due)} raw day(s) are due but kept, the first is {due[0]}: run `signal-pipeline"
        " retention --dry-run` for the reason, then `signal-pipeline backfill` for those days.",
        {"days": [str(day) for day in due]},
    )


def few_drops(connection: Connection) -> Finding:
    """Check that only a small share of events is dropped, per app and in total, bots aside."""
    last = today_utc()
    window = {"first": last - timedelta(days=RECENT_DAYS), "last": last}
    rows = connection.execute(query(__package__, "probes/drop_rate"), window).fetchall()
    if not rows:
        return Finding(
            True,
            "Unknown: `signal.intake`, which begins with its migration, counts nothing of recent"
            " days.",
        )
    high = {
        f"{day} {app or ''}".strip(): (
            f"{dropped / received:.1%} of {received:,}: {_by_reason(reasons)}"
        )
        for day, app, received, dropped, reasons in cast(
            "list[tuple[date, str | None, int, int, dict[str, int]]]", rows
        )
        if received >= MIN_EVENTS and dropped / received > MAX_DROP_SHARE
    }
    if not high:
        return Finding(
            True,
            f"On no recent day of receipt, of {MIN_EVENTS} events or more, were over"
            f" {MAX_DROP_SHARE:.0%} of them dropped (bots aside), of no app either.",
        )
    return Finding(
        False,
        f"More than {MAX_DROP_SHARE:.0%} of what was received was dropped in {len(high)} case(s),"
        " by day of receipt: look at the reasons, and for event types in `signal.books`; a new"
        " event type or app may lack its catalogue entry.",
        {"days": high},
    )


def _by_reason(reasons: Mapping[str, int]) -> str:
    largest = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{reason} {events:,}" for reason, events in largest)


def addresses_arrive(connection: Connection) -> Finding:
    """Check that events come with an address, so that an app's users are not labelled degraded.

    Requirement 4.4. The limit is 1 % of the events of an app's day.
    """
    last = today_utc()
    asked = {
        "first": last - timedelta(days=RECENT_DAYS),
        "last": last,
        "share": DEGRADED_SHARE,
        "few": MIN_GAPS,
    }
    rows = connection.execute(query(__package__, "probes/address_gaps"), asked).fetchall()
    bad = {
        f"{day} {app}": f"{share:.1%}"
        for day, app, share in cast("list[tuple[date, str, float]]", rows)
    }
    if not bad:
        return Finding(True, "Recent events come with an address, but for a few at most.")
    return Finding(
        False,
        f"More than {DEGRADED_SHARE:.0%} of events had no address on {len(bad)} recent app day(s);"
        " their users are labelled degraded. Check that the gateway forwards the address chain and"
        " that SIGNAL_TRUSTED_PROXIES is right.",
        {"app_days": bad},
    )


def identities_are_apart(connection: Connection) -> Finding:
    """Check that no hash is shared by a crowd, as behind a proxy or an office NAT.

    A shared address would merge many people into one. The probe also checks that a session does not
    have many hashes.
    """
    last = today_utc()
    figures: dict[str, object] = {}
    bad = []
    for day, each in day_identities(connection, last - timedelta(days=1), last).items():
        figures[str(day)] = (
            f"{each.events:,} events, {each.users:,} users, top hash {each.top_share:.1%},"
            f" {each.top_sessions} sessions behind it at most; sessions per hash"
            f" {each.sessions_per_hash:.2f}, hashes per session {each.hashes_per_session:.2f}"
        )
        crowded = each.top_share > MAX_TOP_SHARE or each.top_sessions > MAX_TOP_SESSIONS
        split = each.hashes_per_session > MAX_HASHES_PER_SESSION
        if each.events >= MIN_EVENTS and (crowded or split):
            bad.append(day)
    if not bad:
        return Finding(True, "No hash stands out: people are told apart.", figures)
    return Finding(
        False,
        f"On {len(bad)} recent day(s) one hash holds more than {MAX_TOP_SHARE:.0%} of the events or"
        f" over {MAX_TOP_SESSIONS} sessions (a proxy or NAT has merged people, so users are too"
        f" low), or a session has more than {MAX_HASHES_PER_SESSION} hashes on average (addresses"
        " change within it, so users are too high). Check that the client's address arrives, not"
        " the gateway's.",
        figures,
    )


def one_secret_per_day(connection: Connection) -> Finding:
    """Check that each recent day was hashed with one secret, by one version of the rules of names.

    Requirement 2.6. Otherwise the day's users are over-counted.
    """
    last = today_utc()
    quality = day_quality(connection, last - timedelta(days=RECENT_DAYS), last)
    mixed = {
        str(day): _mixed(each)
        for day, each in quality.items()
        if each.keys > 1 or each.hash_rules > 1
    }
    if not mixed:
        return Finding(
            True,
            "Each recent day was hashed with one secret, and by one version of the rules of names.",
        )
    return Finding(
        False,
        f"{len(mixed)} recent day(s) were hashed with two secrets or by two rules, the first is"
        f" {min(mixed)}: their users are over-counted and labelled so. Expected once after a"
        " rotation or an upgrade that changes the rules of names (docs/user-agents.md); else check"
        " that every process has the same secret and the same version.",
        {"days": mixed},
    )


def _mixed(quality: DayQuality) -> str:
    return f"{quality.keys} secret(s), {quality.hash_rules} version(s) of the rules"


def yesterday_is_built(connection: Connection, checksums: Mapping[str, str]) -> Finding:
    """Check that yesterday is fresh in every rollup.

    A backfill of other days must not hide that yesterday is missing.
    """
    yesterday = today_utc() - timedelta(days=1)
    statuses = day_statuses(connection, checksums, yesterday, yesterday)
    if not statuses and installed_day(connection) > yesterday:
        return Finding(
            True, "Signal was installed today: no night has come yet that would build yesterday."
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
    return Finding(
        False,
        f"{len(late)} rollup(s) of {yesterday} are not fresh. Is the daemon running? Rebuild with"
        f" `signal-pipeline backfill --from {yesterday} --to {yesterday}`.",
        {"rollups": late},
    )


def no_day_waits(
    connection: Connection, checksums: Mapping[str, str], *, job: str = "rollups_job"
) -> Finding:
    """Check that every kept day before today is fresh again within an hour of its last change.

    So no day is forgotten after failed builds. A changed model makes every day stale at once. From
    its first build on, the days have an hour. Before that build they count as waiting, because the
    model may be one that cannot build. `job` is the name of the job that builds.
    """
    waiting: set[date] = set()
    for rollup, checksum in checksums.items():
        waiting |= _waiting_days(connection, rollup, checksum, datetime.now(UTC) - MAX_WAIT)
    if not waiting:
        return Finding(True, "No day waits for a build for more than an hour.")
    first, last = min(waiting), max(waiting)
    return Finding(
        False,
        f"{len(waiting)} day(s) wait for a build for more than an hour, or for the first build by a"
        f" changed model; the first is {first}. Is the daemon running? Look for failed runs of"
        f" {job}, then run `signal-pipeline backfill --from {first} --to {last} --plan`.",
        {"days": [str(day) for day in sorted(waiting)]},
    )


def _waiting_days(
    connection: Connection, rollup: str, checksum: str, before: datetime
) -> set[date]:
    """Return the open days before today whose rollup has been stale or missing since `before`."""
    today = today_utc()
    statuses = day_statuses(connection, {rollup: checksum}, last=today - timedelta(days=1))
    waiting = {
        status.day for status in statuses if status.wants_build and status.changed_at < before
    }
    facts = {"rollup": rollup, "checksum": checksum, "today": today, "days": list(waiting)}
    since = cast(
        "list[tuple[date, datetime]]",
        connection.execute(query(__package__, "probes/model_waits"), facts).fetchall(),
    )
    return waiting - {day for day, first_build in since if first_build >= before}
