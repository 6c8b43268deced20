"""Erasure: the answer to a data subject's request (requirement 2.9).

Raw events go, and enter the books as erased. Their keys stay until their day is purged, so that a
replay cannot bring the events back. The day's version rises, so that its rollups are rebuilt. On a
purged day, only an entity has anything left: its rows in rollups. A function of the database
deletes those rows and writes its own entry in the audit log (`schema/sql/guards.sql`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Literal, LiteralString

from psycopg import sql
from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import day_lock, raise_versions, window
from signal_pipeline.days.coverage import why_nothing_is_kept
from signal_pipeline.errors import SignalError
from signal_pipeline.events.ids import former_spelling
from signal_pipeline.postgres.database import Connection, Database, run_with_retries
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log
from signal_pipeline.privacy.erasure_certificate import Certificate, ErasedDay, SubjectKind
from signal_pipeline.privacy.erasure_notes import FORMER_ID_NOTE, notes_on
from signal_pipeline.system.ending_signals import signals_held_back

_CONDITIONS: Mapping[SubjectKind, LiteralString] = {
    "user-hash": (
        "user_hash = %(user_hash)s and created_at >= %(day)s::date::timestamp at time zone 'UTC'"
        " and created_at < (%(day)s::date + 1)::timestamp at time zone 'UTC'"
    ),
    "session": "session_id = %(session)s",
    "entity": "entity_type = %(entity_type)s and entity_id = %(entity_id)s",
}


class NothingKeptError(SignalError):
    """No raw event of the named day is kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be erased: a kind, and the values that find it.

    The values are only in memory.
    """

    kind: SubjectKind
    values: Mapping[str, object] = field(repr=False)

    @classmethod
    def user(cls, user_hash: bytes, day: date) -> Subject:
        """Return one person on one UTC day as a subject."""
        return cls("user-hash", {"user_hash": user_hash, "day": day})

    @classmethod
    def session(cls, session: uuid.UUID) -> Subject:
        """Return one session, which is one browser tab on one UTC date, as a subject."""
        return cls("session", {"session": session})

    @classmethod
    def entity(cls, entity_type: str, entity_id: str) -> Subject:
        """Return one entity, such as a journey, on all days, as a subject."""
        return cls("entity", {"entity_type": entity_type, "entity_id": entity_id})

    @property
    def by_former_id(self) -> Subject | None:
        """Return the entity by the id under which earlier versions stored it, if that is another.

        Rows with that id can also be of another entity, so an erasure must not simply take them.
        """
        if self.kind != "entity":
            return None
        former = former_spelling(str(self.values["entity_id"]))
        if former is None:
            return None
        return Subject.entity(str(self.values["entity_type"]), former)

    @property
    def day(self) -> date | None:
        """Return the only day that can hold the subject, or None if any day can."""
        day = self.values.get("day")
        return day if isinstance(day, date) else None


def erase(
    database: Database,
    subject: Subject,
    actor: bytes,
    *,
    dry_run: bool = False,
    on_interruption: Callable[[Certificate], object] | None = None,
) -> Certificate:
    """Erase a subject, day by day, each day in one transaction.

    After a crash, a second call erases the rest. If an exception ends the erasure after a commit,
    `on_interruption` first gets the certificate of the days that are erased. The caller rebuilds
    the rollups of `Certificate.stale_days`. Raises NothingKeptError for a person on a day of which
    no raw event is kept, and DatabaseError.
    """
    certificate = Certificate(subject.kind, dry_run)
    try:
        _fill_certificate(database, subject, certificate, actor)
    except (
        BaseException
    ):  # Ctrl-C too: the audit log already names this certificate for the committed days.
        if certificate.proves and on_interruption is not None:
            certificate.interrupted = True
            on_interruption(certificate)
        raise
    return certificate


def _fill_certificate(
    database: Database, subject: Subject, certificate: Certificate, actor: bytes
) -> None:
    with database.connect() as connection:
        rollups = _entity_rollups(connection) if subject.kind == "entity" else []
        found = _days_with_subject(connection, subject, rollups)
        if certificate.dry_run:
            certificate.days = found
        else:
            _erase_found(connection, subject, rollups, found, certificate, actor)
        if (
            not certificate.days
            and subject.day
            and (refusal := why_nothing_is_kept(connection, subject.day))
        ):
            raise NothingKeptError(refusal)
        certificate.notes = notes_on(connection, subject.kind, subject.day)
        former = subject.by_former_id
        if former and _days_with_subject(connection, former, rollups):
            certificate.notes.append(FORMER_ID_NOTE)


def _entity_rollups(connection: Connection) -> list[sql.Identifier]:
    """Return the tables of all rollups with entities, even of rollups that have no model now."""
    tables = connection.execute(query(__package__, "entity_rollups")).fetchall()
    return [sql.Identifier("signal", table) for (table,) in tables]


def _erase_found(
    connection: Connection,
    subject: Subject,
    rollups: list[sql.Identifier],
    found: list[ErasedDay],
    certificate: Certificate,
    actor: bytes,
) -> None:
    for each in found:
        if each.state == "open":
            with day_lock(connection, each.day):
                erase_day = partial(
                    _erase_day, connection, subject, rollups, each.day, certificate, actor
                )
                run_with_retries(erase_day)
    if rollups:
        run_with_retries(lambda: _erase_purged(connection, subject, certificate, actor))
    certificate.days.sort(key=lambda day: day.day)


def _days_with_subject(
    connection: Connection, subject: Subject, rollups: list[sql.Identifier]
) -> list[ErasedDay]:
    """Return the days that hold anything of the subject, and how much."""
    statement = sql.SQL(query(__package__, "subject_days")).format(
        condition=sql.SQL(_CONDITIONS[subject.kind])
    )
    events = _counts_by_day(connection, statement, subject)
    rows: dict[date, int] = {}
    for table in rollups:
        statement = sql.SQL(
            "select activity_date, count(*) from {} where {} group by activity_date order by"
            " activity_date"
        ).format(table, sql.SQL(_CONDITIONS["entity"]))
        for day, count in _counts_by_day(connection, statement, subject).items():
            rows[day] = rows.get(day, 0) + count
    days = sorted({*events, *rows})
    states: dict[date, Literal["open", "purged"]] = dict(
        connection.execute("select day, state from signal.days where day = any(%s)", [days])
    )
    return [
        ErasedDay(day, states[day], events.get(day, 0), rows.get(day, 0))
        for day in days
        if day in states
    ]


def _counts_by_day(
    connection: Connection, statement: sql.Composed, subject: Subject
) -> dict[date, int]:
    return dict(connection.execute(statement, subject.values))


def _erase_day(
    connection: Connection,
    subject: Subject,
    rollups: list[sql.Identifier],
    day: date,
    certificate: Certificate,
    actor: bytes,
) -> None:
    """Erase the subject from a day, and enter the day in the certificate if it held anything."""
    with _certified_transaction(connection, certificate) as erased:
        # This waits for the writers of the day, so that the delete sees what they commit. New
        # writers wait until the erasure is committed.
        locked = connection.execute(
            "select state from signal.days where day = %s for update", [day]
        ).fetchone()
        if locked != ("open",):
            return  # Purged meanwhile.
        start, end = window(day)
        condition = sql.SQL(_CONDITIONS[subject.kind])
        scalar = connection.cursor(row_factory=scalar_row)
        events: int | None = scalar.execute(
            sql.SQL(query(__package__, "erase_events")).format(condition=condition),
            {**subject.values, "day": day, "start": start, "end": end},
        ).fetchone()
        assert events is not None  # A count has a row.
        rows = 0
        # The rollup rows are deleted here and not by the rebuild: if the day were purged by force
        # before its rebuild, the rows would stay.
        for table in rollups:
            statement = sql.SQL("delete from {} where activity_date = %(day)s and {}")
            rows += connection.execute(
                statement.format(table, condition), {**subject.values, "day": day}
            ).rowcount
        if not events and not rows:
            return
        audit_log.record(
            connection,
            "erase",
            day=day,
            actor=actor,
            details={
                "kind": subject.kind,
                "events": events,
                "rollup_rows": rows,
                "certificate": str(certificate.number),
            },
        )
        raise_versions(connection, [day])
        erased.append(ErasedDay(day, "open", events, rows))


def _erase_purged(
    connection: Connection, subject: Subject, certificate: Certificate, actor: bytes
) -> None:
    """Erase an entity's rows of all purged days, and enter these days in the certificate."""
    with _certified_transaction(connection, certificate) as erased:
        rows = connection.execute(
            "select erased_day, sum(erased_rows)::bigint from"
            " signal.erase_entity_from_purged_days(%s, %s, %s, %s) group by erased_day",
            [subject.values["entity_type"], subject.values["entity_id"], certificate.number, actor],
        )
        erased += [ErasedDay(day, "purged", 0, count) for day, count in rows]


@contextmanager
def _certified_transaction(
    connection: Connection, certificate: Certificate
) -> Iterator[list[ErasedDay]]:
    """Yield a list for the days that a transaction erases; they are certified after the commit.

    During the commit, and until the days are in the certificate, Ctrl-C is held back. Otherwise
    the certificate could lack a committed day.
    """
    erased: list[ErasedDay] = []
    with ExitStack() as until_certified:
        with connection.transaction():
            yield erased
            until_certified.enter_context(signals_held_back())
        certificate.days += erased
