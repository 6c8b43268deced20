"""What an answer about a data subject does not cover: files whose events are not stored yet."""

from __future__ import annotations

from pathlib import Path

from signal_pipeline.errors import SignalError
from signal_pipeline.settings import Settings


def spool_files(settings: Settings) -> list[Path]:
    """Return the files that wait in the spool."""
    from signal_pipeline.ingest.spool_files import kept_files

    return kept_files(settings.spool_dir)


def waiting_files(settings: Settings) -> dict[str, set[Path]]:
    """Return the files whose events are not stored yet, by the place where they wait."""
    from signal_pipeline.ingest.landing import landed_files

    return {
        "the landing": {*landed_files(settings.landing_path)},
        "SIGNAL_SPOOL_DIR": {*spool_files(settings)},
    }


def notes_on_waiting_files(settings: Settings, before: dict[str, set[Path]]) -> list[str]:
    """Return notes on files that waited before the database was read (`before`), or wait now.

    Without these notes, a data protection officer could believe that there are no other events. If
    the files cannot be listed now, a note says so, because an error would cost the whole answer.
    """
    try:
        now = waiting_files(settings)
    except (OSError, SignalError) as error:
        return [f"the files that wait now cannot be listed, nor looked at: {error}"]
    notes = []
    for place, waiting in now.items():
        if waiting:
            notes.append(
                f"{len(waiting)} file(s) wait in {place}: their events are not stored yet, and were"
                " not looked at"
            )
        if left := before[place] - waiting:
            notes.append(
                f"{len(left)} file(s) left {place} meanwhile: their events can have been stored"
                " after they were looked for; run the same command again"
            )
    return notes
