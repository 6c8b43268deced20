"""The command `rotate-secret`."""

from __future__ import annotations

from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Json
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import load_settings

ROTATION = """\
The secret SIGNALS_SALT_SECRET is the only way from an address to a stored hash.
To pull the kill switch:
  1. let the landing and the spool of every server run empty: this command exits 1 while something
     waits in the landing or in SIGNAL_SPOOL_DIR, so run it once for each server
  2. make a new secret: openssl rand -hex 32
  3. just after midnight UTC, so that no day sees two, give it to every process that ingests, and
     restart them
  4. destroy the old one everywhere: environments, secret stores, backups
  5. after the first events, run this command again with the new secret: of the secrets listed
     below, only the new one may have the newest day
From then on no earlier hash can be recomputed: `subject` finds nothing before that day, and a
replay of older days gives other hashes. A line without clientEventId gets its id from the secret:
replayed after a rotation it is stored again, so never replay such lines of earlier days. A day
that saw two secrets is marked, since its users are over-counted."""


GONE = (
    ". Put a begun file back, so that it is finished; if it is gone for good, run `rotate-secret"
    " --forget-begun`"
)


def rotate_secret(
    forget_begun: Annotated[
        bool,
        typer.Option(
            "--forget-begun",
            help="Forget landed files that are begun but not finished, and are gone for good.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Explain the kill switch; check which secrets hashed which days, and that nothing waits.

    Changes nothing without --forget-begun.
    """
    from signal_pipeline.privacy.rotation import check_rotation, forget_begun_files

    settings = load_settings()
    database = open_database(settings)
    if forget_begun:
        console.say(f"forgot {forget_begun_files(settings, database)} begun file(s)")
    found = check_rotation(settings, database)
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
    if found.newest and found.present not in found.newest:
        console.say(
            "the newest day was hashed by another secret: no event has come under the present one"
            " yet, or a process that ingests still holds the other"
        )
    elif len(found.newest) > 1:
        console.say(
            "the newest day was hashed by several secrets: the secret changed during that day, or a"
            " process that ingests still holds another one"
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
            f" in the spool{GONE if waiting.begun and not waiting.landing else ''}"
        )
