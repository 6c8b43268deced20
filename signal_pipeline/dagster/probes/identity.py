"""The probes of identity: whether people can be told apart, so that users are counted right."""

from __future__ import annotations

from datetime import timedelta

from signal_pipeline.dagster.names import RAW_EVENTS
from signal_pipeline.dagster.probes.bot_shares import MIN_EVENTS
from signal_pipeline.dagster.probes.probe import Finding, Probe, recent_days
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.quality import DEGRADED_SHARE, DayQuality, day_identities, day_quality
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

# This many events of an app and day must lack an address before the check warns, because fewer can
# be chance. On a quiet day, fewer can already be more than 1 %. The day's users are then labelled
# degraded, and the check does not warn.
MIN_GAPS = 10
MAX_TOP_SHARE = 0.5
MAX_TOP_SESSIONS = 200
MAX_HASHES_PER_SESSION = 2


def addresses_arrive(connection: Connection) -> Finding:
    """Check that events come with an address, so that an app's users are not labelled degraded.

    Requirement 4.4. The limit is 1 % of the events of an app's day. Fewer than MIN_GAPS events
    without an address never turn the check red, although the day's users are labelled.
    """
    first, last = recent_days()
    limits = {"first": first, "last": last, "share": DEGRADED_SHARE, "few": MIN_GAPS}
    rows = connection.execute(query(__package__, "address_gaps"), limits).fetchall()
    bad = {f"{day} {app}": f"{share:.1%}" for day, app, share in rows}
    if not bad:
        return Finding(
            True,
            f"No recent app day has {MIN_GAPS} or more events without an address that are also more"
            f" than {DEGRADED_SHARE:.0%} of its events.",
        )
    return Finding(
        False,
        f"More than {DEGRADED_SHARE:.0%} of events had no address on {len(bad)} recent app day(s);"
        " their users are labelled degraded. Check that the gateway forwards the address chain and"
        " that SIGNAL_TRUSTED_PROXIES is right.",
        {"app_days": bad},
    )


def identities_are_apart(connection: Connection) -> Finding:
    """Check that no hash is shared by a crowd, as behind a proxy or an office NAT.

    A shared address would merge many people into one. The probe also checks that sessions do not
    have many hashes on average.
    """
    last = today_utc()
    figures: dict[str, object] = {}
    bad = []
    for day, each in day_identities(connection, last - timedelta(days=1), last).items():
        figures[str(day)] = (
            f"{each.events:,} events, {each.users:,} users, top hash {each.top_share:.1%}, at most"
            f" {each.top_sessions} sessions behind one hash; sessions per hash"
            f" {each.sessions_per_hash:.2f}, hashes per session {each.hashes_per_session:.2f}"
        )
        crowded = each.top_share > MAX_TOP_SHARE or each.top_sessions > MAX_TOP_SESSIONS
        split = each.hashes_per_session > MAX_HASHES_PER_SESSION
        if each.events >= MIN_EVENTS and (crowded or split):
            bad.append(day)
    if not bad:
        return Finding(True, "No hash is shared by a crowd.", figures)
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
    quality = day_quality(connection, *recent_days())
    mixed = {
        str(day): _counts(each)
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


def _counts(quality: DayQuality) -> str:
    return f"{quality.keys} secret(s), {quality.hash_rules} version(s) of the rules"


PROBES = [
    Probe(
        "addresses_arrive",
        RAW_EVENTS,
        "WARN",
        f"At most {DEGRADED_SHARE:.0%} of an app's events of a day, or fewer than {MIN_GAPS}, came"
        " without an address.",
        lambda connection, settings: addresses_arrive(connection),
    ),
    Probe(
        "identities_are_apart",
        RAW_EVENTS,
        "WARN",
        "No hash is shared by a crowd, as behind a proxy or an office NAT.",
        lambda connection, settings: identities_are_apart(connection),
    ),
    Probe(
        "one_secret_per_day",
        RAW_EVENTS,
        "WARN",
        "Each recent day was hashed with one secret, by one version of the rules of names.",
        lambda connection, settings: one_secret_per_day(connection),
    ),
]
