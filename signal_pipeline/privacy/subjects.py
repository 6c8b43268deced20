"""Data subjects: the hash that a person had on a day, and the rows that carry it (requirement 2.9).

Host, address and user agent come in, are used, and are not stored. How rows are erased is in
`erasure.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import lock_days, window
from signal_pipeline.days.coverage import today_notes, why_nothing_is_kept
from signal_pipeline.errors import SignalError
from signal_pipeline.events.addresses import canonical_host, canonical_ip
from signal_pipeline.events.browsers import HASH_RULES
from signal_pipeline.events.hashing import DayHasher, key_id
from signal_pipeline.events.user_agents import hash_inputs, parse_user_agent
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log
from signal_pipeline.settings import Settings
from signal_pipeline.system.private_files import write_new_private

BOT_NOTE = (
    "today's rules take line 3 for the user agent of a bot and drop its events; this looks for"
    " events that were stored under earlier rules"
)

RULES_NOTE = (
    "the rules by which browsers are named have changed since this day was hashed: the person has a"
    " hash by each version of the rules; all are printed and looked for, and an erasure needs each"
    " of them"
)
UNKNOWN_RULES_NOTE = (
    "some events of this day were hashed by rules of names that this version of Signal does not"
    " know; this version cannot find those events"
)


class SubjectError(SignalError):
    """The request cannot be answered as stated; no text repeats the host, address or user agent."""


@dataclass(frozen=True, slots=True)
class SubjectDay:
    """A person's day: their hashes, their events as JSON texts, and notes.

    The notes are for whoever answers the person.

    There is one hash by today's rules of names (`events/browsers.py`). There is one more for each
    earlier version of these rules that hashed the day and gives another hash.
    """

    user_hashes: list[bytes]
    rows: list[str]
    notes: list[str]


def find_subject(
    settings: Settings, database: Database, day: date, lines: Sequence[str]
) -> SubjectDay:
    """Return the hashes and the rows of one person on one day.

    `lines` are host, address and user agent. Each look-up is audited, without the hash. Raises
    SubjectError for input that cannot be a host or an address, and for a day of which nothing is
    kept.
    """
    host, ip, user_agent = _parse_lines(lines)
    secret = ingest_secret(settings)
    hasher = DayHasher(secret, day)
    by_rules = {
        rules: hasher.user_hash(host, ip, names) for rules, names in hash_inputs(user_agent).items()
    }
    hashes, rows, notes = (
        list[bytes](),
        list[str](),
        [BOT_NOTE] if parse_user_agent(user_agent).bot else [],
    )
    with database.connect() as connection, connection.transaction():
        lock_days(connection, [day])  # The day is not purged until the answer is there.
        refusal = why_nothing_is_kept(connection, day)
        if refusal is None:
            used = _rules_of(connection, day)
            hashes = list(
                dict.fromkeys(by_rules[rules] for rules in by_rules if rules in {HASH_RULES, *used})
            )
            rows = _events_of(connection, day, hashes)
            notes += [RULES_NOTE] if len(hashes) > 1 else []
            notes += [UNKNOWN_RULES_NOTE] if used - by_rules.keys() else []
            notes += [
                *today_notes(connection, day),
                *_secret_notes(connection, day, key_id(secret)),
            ]
        audit_log.record(
            connection,
            "subject",
            day=day,
            actor=audit_log.operator(settings),
            details={"events": len(rows)},
        )
    if refusal is not None:
        raise SubjectError(refusal)
    return SubjectDay(hashes, rows, notes)


def _rules_of(connection: Connection, day: date) -> set[int]:
    """Return the versions of the rules of names that hashed the day."""
    scalar = connection.cursor(row_factory=scalar_row)
    return set(scalar.execute("select hash_rules from signal.day_keys where day = %s", [day]))


def _events_of(connection: Connection, day: date, hashes: Sequence[bytes]) -> list[str]:
    start, end = window(day)
    values = {"start": start, "end": end, "user_hashes": hashes}
    scalar = connection.cursor(row_factory=scalar_row)
    return scalar.execute(query(__package__, "subject_events"), values).fetchall()


def _secret_notes(connection: Connection, day: date, present: str) -> list[str]:
    """Return notes on the hashes of the day that the present secret cannot find."""
    scalar = connection.cursor(row_factory=scalar_row)
    keys = set(scalar.execute("select key_id from signal.day_keys where day = %s", [day]))
    if not keys - {present}:
        return []
    if present in keys:
        return [
            "another secret hashed events of this day too; those cannot be found with the"
            " present one"
        ]
    return [
        "this day was hashed by another secret alone: whether it holds this person cannot be told"
        " with the present one"
    ]


def _parse_lines(lines: Sequence[str]) -> tuple[str, str, str]:
    if len(lines) != 3:
        raise SubjectError(
            "write three lines to stdin: host, address, user agent; an empty line for a missing"
            " address or user agent, but not for the host"
        )
    host_text, ip_text, user_agent = lines
    try:
        host = canonical_host(host_text)
    except ValueError as error:
        raise SubjectError(f"line 1: {error}") from None
    ip = canonical_ip(ip_text)
    if ip_text.strip() and not ip:
        raise SubjectError("line 2 is not an IP address")
    return host, ip, user_agent


def export_rows(rows: Sequence[str], path: Path) -> None:
    """Write one JSON object per line into a new file that only its owner can read.

    Raises SubjectError if the file exists or cannot be written. An existing file stays as it is,
    and nothing is left of one that cannot be written. A process that is killed leaves at most a
    hidden draft in the same folder, named after the file.
    """
    try:
        write_new_private(path, "".join(f"{row}\n" for row in rows))
    except OSError as error:
        raise SubjectError(f"cannot write {path}: {error.strerror}") from None
