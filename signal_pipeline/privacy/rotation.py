"""The kill switch: a new secret makes every earlier hash impossible to recompute (requirement 2.6).

This module reports which secrets hashed which days, and which events must be stored before the
secret changes. The ids of lines without a `clientEventId` and the digests of landed files derive
from the secret. So if the secret changed while a landed file was ingested in part, the file would
be read from its start again. Its stored lines without a `clientEventId` would then be stored a
second time. The operator changes the secret itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from psycopg.rows import class_row, scalar_row

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.errors import SignalError
from signal_pipeline.events.hashing import key_id
from signal_pipeline.ingest.landing import landed_files
from signal_pipeline.ingest.spool_files import spool_folders, waiting_files
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import Database
from signal_pipeline.postgres.query import query
from signal_pipeline.settings import Settings


class RotationError(SignalError):
    """Files wait in the landing, so begun files cannot be forgotten yet."""


@dataclass(frozen=True, slots=True)
class KeyDays:
    """One secret, by its key id, and the days that it hashed.

    `mixed` is how many of these days another secret hashed too.
    """

    key_id: str
    first: date
    last: date
    days: int
    mixed: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What must be stored before the secret changes.

    `begun` is how many landed files are ingested in part.
    """

    begun: int
    landing: list[Path]
    spool: list[Path]

    def __bool__(self) -> bool:
        return bool(self.begun or self.landing or self.spool)

    def as_dict(self) -> dict[str, object]:
        """Return the object `waiting` in what `rotate-secret --json` prints."""
        return {
            "begun_landed_files": self.begun,
            "landing": [_file_name(path) for path in self.landing],
            "spool": [_file_name(path) for path in self.spool],
        }


@dataclass(frozen=True, slots=True)
class Rotation:
    """The present secret, all secrets that hashed a day, and what a rotation must wait for."""

    present: str
    keys: list[KeyDays]
    mixed_days: list[date]
    waiting: Waiting

    @property
    def used_today(self) -> bool:
        """Return whether the present secret has hashed events of today.

        If so, a rotation now would mark the day as mixed.
        """
        return any(key.key_id == self.present and key.last >= today_utc() for key in self.keys)

    @property
    def newest(self) -> set[str]:
        """The key ids of the secrets that hashed the newest day; none if nothing was hashed yet."""
        last = max((key.last for key in self.keys), default=None)
        return {key.key_id for key in self.keys if key.last == last}

    def as_dict(self) -> dict[str, object]:
        """Return the object that `rotate-secret --json` prints."""
        return {
            "key_id": self.present,
            "keys": [
                {
                    "key_id": k.key_id,
                    "first": str(k.first),
                    "last": str(k.last),
                    "days": k.days,
                    "mixed": k.mixed,
                }
                for k in self.keys
            ],
            "mixed_days": [str(day) for day in self.mixed_days],
            "waiting": self.waiting.as_dict(),
        }


def _file_name(path: Path) -> str:
    """Return a file's name as text; its bytes need not be UTF-8."""
    return path.name.encode(errors="backslashreplace").decode()


def forget_begun_files(settings: Settings, database: Database) -> int:
    """Forget the landed files that were begun and are gone for good; return how many.

    Raises RotationError while files wait in the landing, since a begun file could be among them.
    """
    if landed_files(settings.landing_path):
        raise RotationError("files wait in the landing: let it run empty first")
    with database.connect() as connection:
        return connection.execute("delete from signal.landed_files where done_at is null").rowcount


def check_rotation(settings: Settings, database: Database) -> Rotation:
    """Return which secrets hashed which days, and what must be stored before a rotation.

    Raises SettingsError or WeakSecretError if `ingest_secret` refuses the present secret.
    """
    present = key_id(ingest_secret(settings))
    with database.connect() as connection:
        keys = connection.cursor(row_factory=class_row(KeyDays))
        keys.execute(query(__package__, "key_days"))
        scalar = connection.cursor(row_factory=scalar_row)
        mixed_days: list[date] = scalar.execute(
            "select day from signal.day_keys group by day having count(distinct key_id) > 1 order"
            " by day"
        ).fetchall()
        begun: int | None = scalar.execute(
            "select count(*) from signal.landed_files where done_at is null"
        ).fetchone()
        assert begun is not None
        spooled = [
            path for folder in spool_folders(settings.spool_dir) for path in waiting_files(folder)
        ]
        waiting = Waiting(begun, landed_files(settings.landing_path), spooled)
        return Rotation(present, keys.fetchall(), mixed_days, waiting)
