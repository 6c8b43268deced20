"""A year in an hour: a false clock walks through days with traffic, faults, nights and pruning.

One process walks. PostgreSQL, the API and the walk follow the same false clock (`false_clock.py`).
The runs are Dagster's own, on its storage in PostgreSQL, but each is executed in the walk's
process: a process for each run would take ten seconds more, mostly for imports. The walk itself
starts the runs that sensors and schedules would ask for. At the end every number is compared with
the oracle.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from faults import actions, false_clock
from faults.world import FaultFoundError, World
from faults.year_walk import Year
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.postgres.database import open_database
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import load_settings


def year(folder: Path, days: int, keep: int, seed: int) -> str:
    """Walk in a process that follows the false clock; return figures. Raises FaultFoundError."""
    program = "import sys; from faults.year import main; main(sys.argv)"
    command = [sys.executable, "-c", program, str(folder / "home"), str(days), str(keep), str(seed)]
    if false_clock.library() is None:
        raise FaultFoundError(false_clock.MISSING)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    environment = {**clean, **false_clock.environment(folder / "clock")}
    done = subprocess.run(command, env=environment, check=False)
    result = folder / "home" / "year.json"
    if done.returncode or not result.exists():
        raise FaultFoundError(f"seed {seed}: the walk ended with {done.returncode}")
    return result.read_text()


def main(arguments: list[str]) -> None:
    """Do the walk itself, in a process that follows the false clock."""
    home, (days, keep, seed) = Path(arguments[1]), map(int, arguments[2:])
    home.mkdir(mode=0o755)
    world = World(home, days_before=keep + 1)
    world.set("SIGNAL_RETENTION_DAYS", str(keep))
    actions.quiet()
    false_clock.start_postgres()
    settings = load_settings()
    migrate(open_database(settings), settings, load_models())
    walk = Year(world, days, seed)
    with open_instance(settings) as instance:
        try:
            walk.walk(instance)
        except FaultFoundError as fault:
            print(f"BROKEN: {fault}", flush=True)
            raise SystemExit(1) from None
        finally:
            walk.api.kill()
    figures = {**walk.done, "red checks": dict(walk.red), "received": walk.received}
    (home / "year.json").write_text(
        ", ".join(f"{name}: {value}" for name, value in figures.items())
    )
