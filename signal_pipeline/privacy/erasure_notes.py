"""Sentences that say what an erasure could not reach."""

from __future__ import annotations

from datetime import date

from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.coverage import days_note, today_notes
from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy.erasure_certificate import SubjectKind

FORMER_ID_NOTE = (
    "something is stored under this id in lower case, and was not touched: earlier versions of"
    " Signal stored every id in lower case, so it can be of this entity, or of another whose id"
    " differs only in capitals; to erase it too, run the command again with the id in lower case"
)


def notes_on(connection: Connection, kind: SubjectKind, day: date | None) -> list[str]:
    """Return notes on events that were deleted earlier, can still come, or have another hash.

    `day` is the only day that can hold the subject, or None if any day can.
    """
    if day is not None:
        return [*today_notes(connection, day), *_hash_notes(connection, day)]
    left = (
        "of an entity only rows in rollups were left there"
        if kind == "entity"
        else "nothing of a session is left there"
    )
    scalar = connection.cursor(row_factory=scalar_row)
    purged = scalar.execute("select day from signal.days where state = 'purged'").fetchall()
    return [
        *days_note(purged, f"are purged: their raw events were deleted earlier, and {left}"),
        *today_notes(connection, today_utc()),
    ]


def _hash_notes(connection: Connection, day: date) -> list[str]:
    counts = connection.execute(
        "select count(distinct key_id), count(distinct hash_rules) from signal.day_keys where"
        " day = %s",
        [day],
    ).fetchone()
    assert counts is not None  # A count has a row.
    secrets, rules = counts
    notes = []
    if secrets > 1:
        notes.append(f"{secrets} secrets hashed {day}: the same person has another hash under each")
    if rules > 1:
        notes.append(
            f"{rules} versions of the rules of names hashed {day}: `subject` prints the person's"
            " hash by each, and each must be erased"
        )
    return notes
