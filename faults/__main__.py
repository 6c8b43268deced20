"""`make faults`: the long kill test, hostile payloads and the soak, each bounded; prints its seed and figures."""

from __future__ import annotations

import argparse
import atexit
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom

from faults import actions
from faults.hostile import payloads
from faults.kills import FaultFoundError, KillTest
from faults.soak import soak
from faults.world import StuckError, World


def run_kills(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Kill until enough have died."""
    test = KillTest(World(home), seed)
    test.prepare()
    tally = test.run(options.kills, options.seconds)
    if tally.total < options.kills:
        raise FaultFoundError(f"only {tally.total} kills in {options.seconds} s: give more --seconds")
    kinds = ", ".join(f"{count} {name}" for name, count in tally.kills.most_common())
    return f"{tally.total} kills in {tally.rounds} rounds ({kinds}); {tally.late} victims ended before their kill"


def run_hostile(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Write the payloads to a file, ingest it by the command, and count the books."""
    world = World(home)
    world.finish(actions.migrate_all)
    file, sent = home / "hostile.ndjson", 0
    with file.open("wb") as stream:

        def write(line: bytes) -> None:
            nonlocal sent
            sent += not line.isspace()
            stream.write(line + b"\n")

        payloads(options.payloads, write, seed)
    done = subprocess.run(
        [sys.executable, "-c", "from signal_pipeline.cli import main; main()", "ingest", str(file)],
        capture_output=True,
        check=False,
    )
    if done.returncode or b"Traceback" in done.stderr:
        raise FaultFoundError(f"seed {seed}: the ingest ended with {done.returncode}")
    with world.connect() as connection:
        rows = connection.execute(
            "select outcome || reason, sum(events)::bigint from signal.books group by 1 order by 2 desc"
        ).fetchall()
    booked = sum(int(str(events)) for _, events in rows)
    if booked != sent:
        raise FaultFoundError(f"seed {seed}: {sent} payloads, {booked} in the books")
    return f"{sent:,} payloads: " + ", ".join(f"{events:,} {outcome}" for outcome, events in rows)


def run_soak(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Everything at once."""
    figures = soak(World(home), seed, options.soak_seconds)
    return f"{options.soak_seconds} s: " + ", ".join(f"{value:,} {name}" for name, value in figures.items())


PARTS = {"kills": run_kills, "hostile": run_hostile, "soak": run_soak}


def main() -> int:
    """Run the parts; exit 1 at the first broken promise."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("parts", nargs="*", help="kills, hostile, soak; default: all of them")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=900, help="the most that the kills may take")
    parser.add_argument("--payloads", type=int, default=100_000)
    parser.add_argument("--soak-seconds", type=int, default=600)
    options = parser.parse_args()
    for name in options.parts or PARTS:
        print(f"{name}: seed {options.seed}", flush=True)
        started = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        folder.chmod(0o755)
        # Registered before the database starts, so that it is removed after the database has stopped.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        try:
            figures = PARTS[name](folder, options.seed, options)
        except (FaultFoundError, StuckError) as fault:
            print(f"{name}: BROKEN: {fault}")
            return 1
        print(f"{name}: {figures}; {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
