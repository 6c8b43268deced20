"""A disk that fills up under load: PostgreSQL finds no room for its WAL, then there is room again.

Meanwhile the API and files bring events. The disk is a small file system in memory, which only root
can mount. The test runs twice: first only PostgreSQL's data are on the disk, then all of
`SIGNAL_HOME`, with the spool and the landing. Every acknowledged event must survive, no file must
be removed before its events are stored, and the same server must accept again by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

from faults import actions, oracle
from faults.api_kills import ApiUnderFire
from faults.checks import faults
from faults.world import PATIENCE_SECONDS, FaultFoundError, StuckError, World, wait_for_midnight

# What is on the small disk: PostgreSQL's data, or all of `SIGNAL_HOME`.
PLACES = (
    "data",
    "everything",
)
DISK_MB = 256
# How much room the ballast, a file that fills the disk, leaves in a round: too little for the next
# segment of WAL, or enough for one segment and few tables.
ROOMS_MB = (
    12,
    20,
)
FULL_MB = 16  # With less than this a disk is full: it has no room for a segment of WAL.
LINES_PER_FILE = 2_000
MAX_FILES = 60
LINES_PER_SENDER = 6_000
FULL_SECONDS = 12.0  # How long the load goes on while the disk is full.
ROUND_SECONDS = 600  # A round takes less than this.


class FullDisk:
    """A world whose disk is filled again and again."""

    def __init__(self, folder: Path, place: str, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.place = place
        home = folder / place
        home.mkdir()
        self._disk = home if place == "everything" else home / "postgres"
        self._disk.mkdir(exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self._disk)], check=True
        )
        home.chmod(0o755)
        self.world = World(home)
        self._files = folder / f"{place}-files"
        self._files.mkdir()
        self._random = Random(f"{seed}/{place}")
        self._today = datetime.now(UTC).date()
        self._days = {self._today: oracle.Day()}
        self._api = ApiUnderFire(self.world, self._today, self._random)

    def prepare(self) -> None:
        """Start and migrate."""
        self.world.finish(actions.migrate_all)

    def close(self) -> None:
        """Unmount the disk. PostgreSQL stopped when the last process that used it ended."""
        subprocess.run(["umount", "--lazy", str(self._disk)], check=True)

    def round(self, number: int) -> None:
        """Fill the disk under load, go on for a while, and make room again.

        Then check that everything is there.
        """
        self._today = self._api.day = wait_for_midnight(ROUND_SECONDS)
        day = self._today - timedelta(days=1 + number)
        for each in (day, self._today):
            self._days.setdefault(each, oracle.Day())
        self._checkpoint()
        postmaster = self.world.postmaster()
        server = self._api.start(lines_per_sender=LINES_PER_SENDER)
        try:
            self._api.until_answered(server)
            with self._ballast(ROOMS_MB[number % len(ROOMS_MB)]):
                failed = self._fill(day, number)
                # If the spool is on this disk, it finds no room either.
                with self._ballast(0):
                    time.sleep(FULL_SECONDS)
                time.sleep(FULL_SECONDS)
                # Processes that come while the disk is full must end, with an error or without.
                self._ingest(self._file(day, f"{number}-late"), day, failed)
                self._drain(day)
            self.counts["times that PostgreSQL had to be started again"] += (
                self.world.postmaster() != postmaster
            )
            self._until_well()
        finally:
            self._api.stop_sending()
            server.terminate()
            server.join(PATIENCE_SECONDS)
        if server.exitcode != 0:
            raise FaultFoundError(
                f"{self.place}: the API ended with {server.exitcode} when it was told to stop"
            )
        self._verify(day, failed)
        self.counts |= {
            f"events of the API {outcome}": count for outcome, count in self._api.counts.items()
        }

    def _fill(self, day: date, number: int) -> list[Path]:
        """Bring files until the disk is full and one fails; return the files that failed."""
        failed: list[Path] = []
        for at in range(MAX_FILES):
            # If the landing is on the full disk, a file may not get in, and its sender keeps it.
            with suppress(OSError):
                self._land(day, f"{number}-{at}")
            self._drain(day)
            self._ingest(self._file(day, f"{number}-{at}"), day, failed)
            if failed and self._free() < FULL_MB << 20:
                return failed
        raise StuckError(
            f"{self.place}: the disk of {DISK_MB} MB is not full, {self._free() >> 20} MB are free"
        )

    def _file(self, day: date, name: str) -> Path:
        path = self._files / f"{name}.lines"
        lines = oracle.lines_of(day, oracle.OF_COMMAND, LINES_PER_FILE, self._random)
        path.write_bytes(oracle.encode(lines))
        self._days[day].add(lines)
        return path

    def _land(self, day: date, name: str) -> None:
        lines = oracle.lines_of(day, oracle.OF_LANDING, LINES_PER_FILE // 10, self._random)
        self.world.land(name, oracle.encode(lines))
        self._days[day].add(lines)

    def _ingest(self, path: Path, day: date, failed: list[Path]) -> None:
        process = self.world.start(actions.ingest_file, path, _end_of(day))
        process.join(PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            raise StuckError(f"{self.place}: an ingest hangs on a full disk")
        self.counts["ingests failed" if process.exitcode else "ingests done"] += 1
        if process.exitcode:
            failed.append(path)

    def _drain(self, day: date) -> None:
        process = self.world.start(actions.drain, _end_of(day))
        process.join(PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            raise StuckError(f"{self.place}: a drain hangs on a full disk")
        self.counts["drains failed" if process.exitcode else "drains done"] += 1

    def _until_well(self) -> None:
        """Wait until the API accepts again and its spool is empty; note how long that took."""
        freed = time.monotonic()
        accepted = self._api.counts["accepted"]
        while self._api.counts["accepted"] == accepted:
            if time.monotonic() > freed + PATIENCE_SECONDS:
                raise FaultFoundError(
                    f"{self.place}: the API accepts nothing although there is room again"
                )
            time.sleep(0.05)
        self._api.until_drained()
        self.counts["seconds until all was well"] += round(time.monotonic() - freed)

    def _verify(self, day: date, failed: list[Path]) -> None:
        """Check that everything is stored, and nothing twice.

        Work that failed is first tried again.
        """
        for path in failed:
            self.world.finish(actions.ingest_file, path, _end_of(day))
        self.world.finish(actions.drain, _end_of(day))
        found = self._api.settle(self._days[self._today])
        for each in (day, self._today):
            self.world.finish(actions.build, each)
        with self.world.connect() as connection:
            found += faults(
                connection, {each: self._days[each] for each in (day, self._today)}, self.world.home
            )
        if found:
            raise FaultFoundError(f"{self.place}: {'; '.join(found)}")

    def _checkpoint(self) -> None:
        """Release the WAL of the previous round."""
        with self.world.connect() as connection:
            connection.execute("checkpoint")

    @contextmanager
    def _ballast(self, room_mb: int) -> Iterator[None]:
        """Put a file on the disk that leaves little room."""
        ballast = self._disk / f"ballast-{room_mb}"
        size = self._free() - (room_mb << 20)
        with ballast.open("wb") as file:
            if size > 0:  # The disk can be full already.
                os.posix_fallocate(file.fileno(), 0, size)
        try:
            yield
        finally:
            ballast.unlink()

    def _free(self) -> int:
        return shutil.disk_usage(self._disk).free


def fill_disks(folder: Path, seed: int, rounds: int) -> str:
    """Run some rounds in each place; return figures. Raises FaultFoundError and StuckError."""
    if os.geteuid() != 0:
        raise FaultFoundError("a disk can be mounted by root only")
    said = []
    for place in PLACES:
        disk = FullDisk(folder, place, seed)
        try:
            disk.prepare()
            for number in range(rounds):
                disk.round(number)
                print(f"{place}, round {number}: {dict(disk.counts)}", flush=True)
        finally:
            disk.close()
        figures = ", ".join(f"{count:,} {what}" for what, count in disk.counts.items())
        said.append(f"{place} on the full disk, {rounds} rounds: {figures}")
    return "; ".join(said)


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
