"""The certificate of an erasure, which says what was erased without holding the erased value."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal

SubjectKind = Literal["user-hash", "session", "entity"]


@dataclass(frozen=True, slots=True)
class ErasedDay:
    """What an erasure took out of one day."""

    day: date
    state: Literal["open", "purged"]
    events: int
    rollup_rows: int


@dataclass(slots=True)
class Certificate:
    """What was erased, or with `dry_run` would be: kind, days and counts, never the erased value.

    The audit log holds `number` too. `at` is in UTC. `notes` are sentences that say what the
    erasure could not reach. `interrupted` means that the erasure ended early, so that more of the
    subject can still be stored.
    """

    kind: SubjectKind
    dry_run: bool
    number: uuid.UUID = field(default_factory=uuid.uuid4)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    days: list[ErasedDay] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def proves(self) -> bool:
        """Return whether anything was erased; if nothing was, there is nothing to certify."""
        return bool(self.days) and not self.dry_run

    @property
    def stale_days(self) -> list[date]:
        """Return the days whose rollups must be rebuilt."""
        return [day.day for day in self.days if day.state == "open"]

    def as_dict(self) -> dict[str, object]:
        """Return the object that `erase --json` prints."""
        return {
            "kind": self.kind,
            "certificate": str(self.number) if self.proves else None,
            "at": self.at.isoformat(timespec="seconds"),
            "events": sum(day.events for day in self.days),
            "days": [
                {
                    "day": str(d.day),
                    "state": d.state,
                    "events": d.events,
                    "rollup_rows": d.rollup_rows,
                }
                for d in self.days
            ],
            "notes": self.notes,
            "dry_run": self.dry_run,
            "interrupted": self.interrupted,
        }
