"""The probe of the landing: files that no drain can take, and files that wait for too long."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

from psycopg.rows import scalar_row

from signal_pipeline.dagster.names import RAW_EVENTS
from signal_pipeline.dagster.probes.probe import Finding, Probe
from signal_pipeline.ingest.landing import Entry, entries, first_few
from signal_pipeline.ingest.ndjson import StreamError, check_form
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

# This many of the oldest files are read, which bounds the check. Files that no drain takes stay in
# the landing and become its oldest.
MOST_FILES_READ = 20
DAY_SECONDS = timedelta(days=1).total_seconds()
# A clock that was ahead can leave a file with a time far in the future. By its age alone, such a
# file would never count as old.
MOST_AHEAD_SECONDS = timedelta(hours=1).total_seconds()


def begun_sizes(connection: Connection) -> set[int]:
    """Return the sizes in bytes of the files that a drain has begun or done.

    A file is not included if the database has forgotten its row since then.
    """
    scalar = connection.cursor(row_factory=scalar_row)
    return {*scalar.execute("select distinct bytes from signal.landed_files")}


def landing_moves(
    settings: Settings,
    begun: Collection[int] = (),
    *,
    sensor: str = "landing_sensor",
    job: str = "raw_events_job",
) -> Finding:
    """Check that nothing is stuck in the landing, and that nothing waits there for more than a day.

    A landed file holds raw addresses. `begun` holds the sizes in bytes of files that drains have
    begun: a compressed file of such a size is read to its end. Of any other file only the beginning
    is read. `sensor` and `job` are the names of the sensor and the job that drain the landing.
    """
    present = entries(settings.landing_path)
    kept = _refused_entries([entry for entry in present if not entry.unfinished], begun)
    old = [entry.label for entry in present if _is_old(entry)]
    found = []
    if kept:
        found.append(
            f"{len(kept)} item(s) in the landing cannot be taken: {first_few(kept)}. Convert what"
            " holds events to NDJSON, and move away or delete the rest."
        )
    if old:
        found.append(
            f"{len(old)} landed file(s) wait for more than a day, or have a time that is still to"
            f" come: {first_few(old)}. Is {sensor} on? Look for failed runs of {job}; hidden files"
            " and *.tmp are their writer's to finish or delete."
        )
    if not found:
        return Finding(True, "Nothing is stuck in the landing or waits there for more than a day.")
    return Finding(
        False,
        f"Raw addresses stay in the landing. {' '.join(found)}",
        {"kept": len(kept), "older_than_a_day": len(old)},
    )


def _is_old(entry: Entry) -> bool:
    age = time.time() - entry.changed
    return age > DAY_SECONDS or age < -MOST_AHEAD_SECONDS


def _refused_entries(waiting: list[Entry], begun: Collection[int]) -> list[str]:
    """Return the entries that no drain can take, with the reason; reads only the oldest files."""
    files = [entry for entry in waiting if not entry.obstacle][:MOST_FILES_READ]
    reasons = {entry: entry.obstacle for entry in waiting}
    reasons |= {entry: _fault(entry.path, to_the_end=entry.size in begun) for entry in files}
    return [f"{entry.label} {reason}" for entry, reason in reasons.items() if reason]


def _fault(path: Path, *, to_the_end: bool) -> str | None:
    """Return why a drain cannot take a file, or not all of it; None if it can."""
    try:
        with path.open("rb") as stream:
            check_form(stream, to_the_end=to_the_end)
    except FileNotFoundError:
        return None
    except StreamError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def landing_probes(*, sensor: str, job: str) -> list[Probe]:
    """Return the probe of the landing, which `sensor` and `job` drain."""
    return [
        Probe(
            "landing_moves",
            RAW_EVENTS,
            "WARN",
            "No landed file is stuck, and none waits for more than a day.",
            lambda connection, settings: landing_moves(
                settings, begun_sizes(connection), sensor=sensor, job=job
            ),
        )
    ]
