"""The commands `erase`, `subject`, `rotate-secret` and `sql`.

They serve data subjects, the secret, and the reader's SQL.
"""

from __future__ import annotations

import re
import sys
import uuid
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.cli import console
from signal_pipeline.cli.options import Json, parse_day
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.events.ids import NO_IDS
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from signal_pipeline.privacy.erasure import Certificate, Subject

app = typer.Typer()

_HASH = re.compile(r"[0-9a-fA-F]{64}")
OptionalDay = Annotated[date | None, typer.Option(parser=parse_day, metavar="YYYY-MM-DD")]


@app.command()
def erase(
    user_hash: Annotated[
        str | None, typer.Option(metavar="HEX", help="With --day: one person on one day.")
    ] = None,
    day: OptionalDay = None,
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
    from signal_pipeline.rollups.models import load_models

    settings = load_settings()
    subject = _subject(settings, user_hash, day, session, entity)
    if not dry_run:
        _check_spool(settings)
    models = load_models()
    certificate = erasure.erase(
        open_database(settings), models, subject, operator(settings), dry_run=dry_run
    )
    _show_certificate(certificate)
    _show_notes(settings, certificate.notes)
    refused = {} if dry_run else _rebuild(settings, certificate.stale_days)
    if as_json:
        console.print_json(certificate.as_dict())
    if refused:
        raise SignalError(
            f"{len(refused)} day(s) are erased but not rebuilt, and marked stale; the first is"
            f" {min(refused)}"
        )


def _check_spool(settings: Settings) -> None:
    """Raise SignalError while files wait in the spool.

    An erasure does not reach the spool, and what waits there would be stored after it.
    """
    if files := _spooled(settings):
        raise SignalError(
            f"{len(files)} file(s) wait in SIGNAL_SPOOL_DIR, where an erasure does not reach: let"
            " `serve` store them, delete those with the suffix .refused, then erase"
        )


def _spooled(settings: Settings) -> list[Path]:
    from signal_pipeline.ingest.spool import spooled_files

    return spooled_files(settings.spool_dir, refused=True)


def _show_notes(settings: Settings, notes: list[str]) -> None:
    """Print what was not looked at or cannot be found.

    Otherwise an officer could believe that there is nothing.
    """
    from signal_pipeline.ingest.landing import landed_files

    for files, place in (
        (landed_files(settings.landing_path), "the landing"),
        (_spooled(settings), "SIGNAL_SPOOL_DIR"),
    ):
        if files:
            notes = [
                *notes,
                (
                    f"{len(files)} file(s) wait in {place}: their events are not stored yet, and"
                    " were not looked at"
                ),
            ]
    for note in notes:
        console.say(f"note: {note}")


def _subject(
    settings: Settings,
    user_hash: str | None,
    day: date | None,
    session: str | None,
    entity: tuple[str, str] | None,
) -> Subject:
    from signal_pipeline.privacy.erasure import Subject

    # No message repeats a value, because a terminal's log can keep it.
    if [user_hash, session, entity].count(None) != 2 or (user_hash is None) != (day is None):
        raise UsageError(
            "name one subject: --user-hash HEX with --day, --session UUID, or --entity TYPE ID"
        )
    if user_hash is not None and day is not None:
        if not _HASH.fullmatch(user_hash):
            raise UsageError("--user-hash takes 64 hexadecimal digits")
        return Subject.user(bytes.fromhex(user_hash), day)
    if session is not None:
        try:
            named = uuid.UUID(session)
        except ValueError:
            raise UsageError("--session takes a UUID") from None
        if str(named) in NO_IDS:
            # Events that were stored with it before it was refused belong to the sessions of many
            # people.
            raise UsageError(
                "--session: the nil and the max UUID name no session; erase by --user-hash"
            )
        return Subject.session(named)
    assert entity is not None
    catalogue = load_catalogue(settings.catalogue)
    kind = catalogue.entity_types.get(entity[0])
    if kind is None:
        raise UsageError(f"--entity: the type is one of {', '.join(catalogue.entity_types)}")
    if not re.fullmatch(catalogue.id_formats[kind.id_format], entity[1].lower()):
        raise UsageError(f"--entity: that is not the id of a {kind.name}")
    return Subject.entity(kind.name, entity[1].lower())


def _show_certificate(certificate: Certificate) -> None:
    if not certificate.days:
        console.say(
            f"{certificate.kind}: nothing is stored of it, so that nothing is erased, and there is"
            " no certificate"
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
            " names it"
        )


def _rebuild(settings: Settings, days: list[date]) -> dict[date, str]:
    if not days:
        return {}
    from signal_pipeline.dagster.backfill import BackfillPlan, run_backfill
    from signal_pipeline.dagster.home import open_instance
    from signal_pipeline.dagster.partitions import DAYS_PER_RUN
    from signal_pipeline.rollups.models import load_models

    with open_instance(settings) as instance, console.days_done(len(days), "rebuild") as progress:
        from signal_pipeline.definitions import defs

        plan, database = BackfillPlan(days, {}, {}), open_database(settings)
        result = run_backfill(
            instance, defs(), database, plan, list(load_models()), DAYS_PER_RUN, progress
        )
    console.show_backfill(result)
    return result.refused


@app.command()
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
    if sys.stdin.isatty():
        console.say("host, address, user agent, one line each:")
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    found = find_subject(settings, open_database(settings), day, lines)
    sys.stdout.writelines(user_hash.hex() + "\n" for user_hash in found.user_hashes)
    console.say(
        f"{len(found.rows):,} event(s) on {day} with"
        f" {'these hashes' if found.user_hashes[1:] else 'this hash'}"
    )
    _show_notes(settings, found.notes)
    if export is not None:
        export_rows(found.rows, export)
        console.say(f"written to {export}; delete it when the request is answered")


ROTATION = """\
The secret SIGNALS_SALT_SECRET is the only way from an address to a stored hash.
To pull the kill switch:
  1. let the landing and every process's spool run empty: this command exits 1 while something
     waits
  2. make a new secret: openssl rand -hex 32
  3. just after midnight UTC, so that no day sees two, give it to every process that ingests, and
     restart them
  4. destroy the old one everywhere: environments, secret stores, backups
  5. run this command again with the new secret: it must be the newest below
From then on no earlier hash can be recomputed: `subject` finds nothing before that day, and a
replay of older days gives other hashes. A line without clientEventId gets its id from the secret:
replayed after a rotation it is stored again, so never replay such lines of earlier days. A day
that saw two secrets is marked, since its users are over-counted."""


@app.command("rotate-secret")
def rotate_secret(as_json: Json = False) -> None:
    """Explain the kill switch; check which secrets hashed which days, and that nothing waits.

    Changes nothing.
    """
    from signal_pipeline.privacy.rotation import check_rotation

    settings = load_settings()
    found = check_rotation(settings, open_database(settings))
    for line in ROTATION.splitlines():
        console.say(line)
    console.say(f"present secret: key id {found.present}")
    for key in found.keys:
        mark = " (present)" if key.key_id == found.present else ""
        console.say(
            f"{key.key_id}{mark}: {key.first} to {key.last}, {key.days} day(s), {key.mixed} of them"
            " mixed"
        )
    if found.mixed_days:
        console.say(f"mixed days: {', '.join(map(str, found.mixed_days))}")
    if found.used_today:
        console.say(
            "a rotation now would mark today as mixed: it has events under the present secret"
        )
    if not found.complete:
        console.say(
            "the newest day was hashed by another secret: a process that ingests still holds"
            " that one"
        )
    if as_json:
        console.print_json(found.as_dict())
    waiting = found.waiting
    for label, paths in (("landing", waiting.landing), ("spool", waiting.spool)):
        for path in paths:
            console.say(f"waits in the {label}: {path}")
    if waiting:
        raise SignalError(
            f"do not change the secret yet: {waiting.begun} landed file(s) are begun and not"
            f" finished, {len(waiting.landing)} file(s) wait in the landing, {len(waiting.spool)}"
            " in the spool"
        )


@app.command()
def sql(as_json: Json = False) -> None:
    """Open psql as the role that reads only rollups.

    Without a terminal or psql, or with --json, prints its URL.
    """
    from signal_pipeline.cli.psql import LIFETIMES, open_psql, reader_url, url_lifetime

    settings = load_settings()
    url = reader_url(open_database(settings))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and not as_json and (code := open_psql(url)) is not None:
        raise typer.Exit(code)
    lives = url_lifetime(settings)
    console.say(LIFETIMES[lives])
    if as_json:
        console.print_json({"url": url, "lives": lives})
    else:
        sys.stdout.write(url + "\n")
