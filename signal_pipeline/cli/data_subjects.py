"""The commands that answer a data subject's request: `erase` and `subject`."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.backfill import rebuild
from signal_pipeline.cli.options import Day, Json, parse_day
from signal_pipeline.cli.show import show_backfill
from signal_pipeline.cli.waiting_files import notes_on_waiting_files, spool_files, waiting_files
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.events.ids import NO_IDS, can_be_entity_id, is_entity_id, stored_spelling
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import Settings, load_settings
from signal_pipeline.system.extras import explain_missing

if TYPE_CHECKING:
    from signal_pipeline.privacy.erasure import Subject
    from signal_pipeline.privacy.erasure_certificate import Certificate

_HASH = re.compile(r"[0-9a-fA-F]{64}")


def erase(
    user_hash: Annotated[
        str | None, typer.Option(metavar="HEX", help="With --day: one person on one day.")
    ] = None,
    day: Day = None,
    session: Annotated[str | None, typer.Option(metavar="UUID", help="One browser tab.")] = None,
    entity: Annotated[
        tuple[str, str] | None, typer.Option(metavar="TYPE ID", help="One entity, on all days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
) -> None:
    """Erase what is stored of a data subject, and rebuild the rollups of the days it was in."""
    from signal_pipeline.privacy import erasure
    from signal_pipeline.privacy.audit_log import operator

    settings = load_settings()
    subject = _named_subject(settings, user_hash, day, session, entity)
    if not dry_run:
        _check_spool(settings)
    # Read before anything is erased: an error after the erasure would cost the certificate.
    waiting, id_notes = waiting_files(settings), _notes_on_id(settings, entity)
    certificate = erasure.erase(
        open_database(settings),
        subject,
        operator(settings),
        dry_run=dry_run,
        on_interruption=partial(_show_interrupted, as_json=as_json),
    )
    certificate.notes += notes_on_waiting_files(settings, waiting)
    certificate.notes += id_notes
    _show_certificate(certificate)
    _show_notes(certificate.notes)
    if as_json:  # Before the rebuild, since the certificate holds even if the rebuild fails.
        console.print_json(certificate.as_dict())
    if not dry_run and (refused := _rebuild(settings, certificate.stale_days)):
        raise SignalError(
            f"{len(refused)} day(s) are erased but not rebuilt, and marked stale; the first is"
            f" {min(refused)}"
        )


def _check_spool(settings: Settings) -> None:
    """Raise SignalError while files wait in the spool.

    An erasure does not reach the spool, and what waits there would be stored after it.
    """
    if files := spool_files(settings):
        raise SignalError(
            f"{len(files)} file(s) wait in SIGNAL_SPOOL_DIR, where an erasure does not reach: let"
            " `serve` store them (restart it if they stay), delete those with the suffix .refused,"
            " then erase"
        )


def _show_notes(notes: Iterable[str]) -> None:
    for note in notes:
        console.say(f"note: {note}")


def _named_subject(
    settings: Settings,
    user_hash: str | None,
    day: date | None,
    session: str | None,
    entity: tuple[str, str] | None,
) -> Subject:
    """Return the one subject that the options name.

    Raises UsageError. No message repeats a hash or an id, because a terminal's log can keep it.
    """
    if [user_hash, session, entity].count(None) != 2 or (user_hash is None) != (day is None):
        raise UsageError(
            "name one subject: --user-hash HEX with --day, --session UUID, or --entity TYPE ID"
        )
    if user_hash is not None and day is not None:
        return _user_subject(user_hash, day)
    if session is not None:
        return _session_subject(session)
    assert entity is not None
    return _entity_subject(settings, *entity)


def _user_subject(user_hash: str, day: date) -> Subject:
    from signal_pipeline.privacy.erasure import Subject

    if not _HASH.fullmatch(user_hash):
        raise UsageError("--user-hash takes 64 hexadecimal digits")
    return Subject.user(bytes.fromhex(user_hash), day)


def _session_subject(text: str) -> Subject:
    from signal_pipeline.privacy.erasure import Subject

    try:
        session = uuid.UUID(text)
    except ValueError:
        raise UsageError("--session takes a UUID") from None
    if str(session) in NO_IDS:
        # Acceptance did not always refuse these ids, so events with them can be stored. Such
        # events belong to many people.
        raise UsageError(
            "--session: the nil and the max UUID name no session; erase by --user-hash"
        )
    return Subject.session(session)


def _entity_subject(settings: Settings, entity_type: str, entity_id: str) -> Subject:
    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.privacy.erasure import Subject

    catalogue = load_catalogue(settings.catalogue)
    kind = catalogue.entity_types.get(entity_type)
    if kind is None:
        raise UsageError(f"--entity: the type is one of {', '.join(catalogue.entity_types)}")
    stored = stored_spelling(entity_id)
    if not can_be_entity_id(stored):
        raise UsageError(f"--entity: that is not the id of a {kind.name}")
    return Subject.entity(kind.name, stored)


def _notes_on_id(settings: Settings, entity: tuple[str, str] | None) -> list[str]:
    """Return a note on an id that the catalogue refuses today, or that others can have shared.

    Neither is a reason to refuse an erasure: the format can have been wider when the id was stored.
    """
    from signal_pipeline.catalogue.load import load_catalogue

    if entity is None:
        return []
    catalogue = load_catalogue(settings.catalogue)
    kind = catalogue.entity_types[entity[0]]
    id_format = re.compile(catalogue.id_formats[kind.id_format])
    stored = stored_spelling(entity[1])
    if is_entity_id(stored, id_format):
        others = {
            stored_spelling(stored[:at] + stored[at:end].upper() + stored[end:])
            for at in range(len(stored))
            for end in (at + 1, len(stored))
        } - {stored}
        if stored != stored.lower() or not any(is_entity_id(each, id_format) for each in others):
            return []
        return [
            f"earlier versions of Signal stored each {kind.name} whose id differs from this one"
            " only in capitals under this id too, so old events of others can be among these"
        ]
    return [
        f"the id is not the id of a {kind.name} by today's catalogue: only events that were stored"
        " under an earlier catalogue can have it; check that it is typed right"
    ]


def _show_certificate(certificate: Certificate) -> None:
    if not certificate.days:
        console.say(
            f"{certificate.kind}: nothing is stored of this subject, so nothing was erased and"
            " there is no certificate"
        )
        return
    verb = "would be erased" if certificate.dry_run else "erased"
    events = sum(day.events for day in certificate.days)
    rows = sum(day.rollup_rows for day in certificate.days)
    days = len(certificate.days)
    console.say(
        f"{certificate.kind}: {events:,} event(s) and {rows:,} rollup row(s) on {days} day(s)"
        f" {verb}"
    )
    for day in certificate.days:
        found = (
            "raw events were deleted before"
            if day.state == "purged"
            else f"{day.events:,} event(s)"
        )
        console.say(f"{day.day} ({day.state}): {found}, {day.rollup_rows:,} rollup row(s)")
    if certificate.proves:
        console.say(
            f"certificate {certificate.number}, {certificate.at:%Y-%m-%d %H:%M:%S} UTC; the audit"
            " log names it"
        )


def _show_interrupted(certificate: Certificate, *, as_json: bool) -> None:
    """Print what is erased already: a second run does not find it, and cannot certify it."""
    _show_certificate(certificate)
    console.say(
        "this certificate is interrupted, since the erasure ended early: run the same command again"
        " to erase the rest, and keep both certificates, which belong together"
    )
    if as_json:
        console.print_json(certificate.as_dict())


def _rebuild(settings: Settings, days: list[date]) -> dict[date, str]:
    """Build the days, and return those that failed, with the reasons.

    A day that was purged meanwhile has not failed: its rollups hold nothing of a person.
    """
    if not days:
        return {}
    from signal_pipeline.rollups.models import load_models

    try:
        from signal_pipeline.dagster.backfill import PURGED, BackfillPlan
    except ModuleNotFoundError as error:
        raise SignalError(
            f"{len(days)} day(s) are erased but not rebuilt, and marked stale:"
            f" {explain_missing(error)}"
        ) from None

    result = rebuild(
        settings, open_database(settings), BackfillPlan(days, {}, {}), list(load_models())
    )
    show_backfill(result)
    return {day: reason for day, reason in result.refused.items() if reason != PURGED}


def subject(
    day: Annotated[date, typer.Option(parser=parse_day, metavar="YYYY-MM-DD", help="The UTC day.")],
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows, one JSON object a line.")
    ] = None,
) -> None:
    """Find a person's rows of a day.

    Reads host, address and user agent as three lines from stdin, and stores none of them.
    """
    from signal_pipeline.privacy.subjects import export_rows, find_subject

    settings = load_settings()
    stream = console.standard_input()
    if stream.isatty():
        console.say("host, address, user agent, one line each:")
    text = stream.read().decode("utf-8", "replace")
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    waiting = waiting_files(settings)
    found = find_subject(settings, open_database(settings), day, lines)
    sys.stdout.writelines(user_hash.hex() + "\n" for user_hash in found.user_hashes)
    console.say(
        f"{len(found.rows):,} event(s) on {day} with"
        f" {'these hashes' if found.user_hashes[1:] else 'this hash'}"
    )
    _show_notes([*found.notes, *notes_on_waiting_files(settings, waiting)])
    if export is not None:
        export_rows(found.rows, export)
        console.say(f"written to {export}; delete it when the request is answered")
