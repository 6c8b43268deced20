"""`make faults`: long tests that kill, flood, soak and search, each bounded.

Each part prints its seed and its figures. Three parts run only when they are named: `accuracy`
compares user agents with labels from a file; `fulldisk` mounts a disk, so only root can run it;
`year` walks a false clock through 400 days in an hour or more.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import SystemRandom

from faults import actions
from faults.accuracy import LABELS, accuracy
from faults.full_disk import fill_disks
from faults.hostile_clients import by_connection
from faults.hostile_ways import by_api, by_file
from faults.kills import KillTest
from faults.leaks import LeakTest
from faults.leaks_dagster import by_dagster
from faults.neighbours import neighbours
from faults.sensor_kills import kill_sensor_runs
from faults.soak import soak
from faults.suppression import Recovered, attack
from faults.world import (
    FaultFoundError,
    StuckError,
    World,
    kill_children,
    stop_servers,
    wait_for_midnight,
)
from faults.year import year
from signal_pipeline.postgres.database import open_database
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings

LEAKS_SECONDS = 900  # The leak test takes less than this.


def run_kills(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Kill processes until enough have died."""
    test = KillTest(World(home), seed)
    test.prepare()
    tally = test.run(options.kills - options.sensor_kills, options.seconds)
    if tally.total < options.kills - options.sensor_kills:
        raise FaultFoundError(
            f"only {tally.total} kills in {options.seconds} s: give more --seconds"
        )
    if options.sensor_kills:
        tally.kills += kill_sensor_runs(test.world, test.days, options.sensor_kills, seed)
    kinds = ", ".join(f"{count} {name}" for name, count in tally.kills.most_common())
    events = ", ".join(f"{count:,} {name}" for name, count in tally.api_events.most_common())
    return (
        f"{tally.total} kills in {tally.rounds} rounds ({kinds}); {tally.late} victims ended before"
        f" their kill; events of the API: {events}"
    )


def run_hostile(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Send hostile payloads by file and over HTTP.

    Then open connections that are hostile themselves.
    """
    world = World(home)
    wait_for_midnight(options.payloads / 50)
    world.finish(actions.migrate_all)
    by_way = {
        "by file": by_file(world, options.payloads, seed),
        "over HTTP": by_api(world, options.api_payloads, seed + 1),
    }
    return (
        "; ".join(
            f"{books.total():,} payloads {way}: "
            + ", ".join(f"{events:,} {outcome}" for outcome, events in books.most_common())
            for way, books in by_way.items()
        )
        + f"; {by_connection(world, options.connections, seed + 2)}"
    )


def run_soak(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Run everything at once."""
    figures = soak(World(home), seed, options.soak_seconds)
    return f"{options.soak_seconds} s: " + ", ".join(
        f"{value:,} {name}" for name, value in figures.items()
    )


def run_leaks(home: Path, _seed: int, _options: argparse.Namespace) -> str:
    """Send marked inputs by every way in, with Dagster's UI and daemon running."""
    wait_for_midnight(LEAKS_SECONDS)
    test = LeakTest(home)
    test.by_command()
    test.by_api()
    by_dagster(test)
    return test.search()


def run_neighbours(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Run beside another team in one Dagster instance."""
    races, seconds, kills = options.races, options.neighbour_seconds, options.neighbour_kills
    wait_for_midnight(2 * races + seconds + 60 * kills)
    return str(neighbours(World(home), races, seconds, kills, seed))


def run_full_disk(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Leave no room for WAL while the system is under load."""
    return fill_disks(home, seed, options.disk_rounds)


def run_suppression(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Let a patient analyst work on one small world after the other.

    Each world is two days in a week of its own.
    """
    today = wait_for_midnight(120 * options.worlds)
    World(home)
    actions.migrate_all()
    settings, models = load_settings(), load_models()
    database = open_database(settings)
    engine, total = open_engine(settings, database), Recovered()
    monday = today - timedelta(days=today.weekday() + 7)
    for number in range(options.worlds):
        first = monday - timedelta(weeks=number)
        days = [first, first + timedelta(days=1)]
        people = (options.people // 6, options.people)
        found = attack(
            seed + number, days, options.cells, database, settings, models, engine, people
        )
        print(
            f"suppression: seed {seed + number}: {found}", *found.examples, sep="\n  ", flush=True
        )
        total.add(found)
    if total.exactly or total.under_five:
        raise FaultFoundError(str(total))
    return str(total)


def run_accuracy(_home: Path, _seed: int, options: argparse.Namespace) -> str:
    """Compare user agents with labels that people made."""
    if not options.labels.exists():
        raise FaultFoundError(f"there are no labels in {options.labels}: give --labels")
    return "\n" + "\n".join(accuracy(options.labels, options.ua_parser_js)) + "\n"


def run_year(home: Path, seed: int, options: argparse.Namespace) -> str:
    """Walk day after day by a false clock."""
    return f"{options.days} days; {year(home, options.days, options.keep_days, seed)}"


DEFAULT_PARTS = {
    "kills": run_kills,
    "hostile": run_hostile,
    "soak": run_soak,
    "leaks": run_leaks,
    "neighbours": run_neighbours,
    "suppression": run_suppression,
}
PARTS = {**DEFAULT_PARTS, "accuracy": run_accuracy, "fulldisk": run_full_disk, "year": run_year}


def main() -> int:
    """Run the parts; exit with 1 at the first broken promise."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        help=f"{', '.join(DEFAULT_PARTS)} (default: these), accuracy, fulldisk, year",
    )
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=900, help="the most that the kills may take")
    parser.add_argument("--payloads", type=int, default=100_000)
    parser.add_argument("--api-payloads", type=int, default=40_000)
    parser.add_argument(
        "--connections",
        type=int,
        default=1_500,
        help="for hostile: connections that keep the server waiting",
    )
    parser.add_argument(
        "--sensor-kills",
        type=int,
        default=6,
        help="kills of runs that the daemon launched; each takes a minute",
    )
    parser.add_argument("--soak-seconds", type=int, default=600)
    parser.add_argument(
        "--disk-rounds", type=int, default=3, help="for fulldisk: how often each disk is filled"
    )
    parser.add_argument(
        "--labels", type=Path, default=LABELS, help="for accuracy: labelled user agents"
    )
    parser.add_argument(
        "--ua-parser-js", type=Path, help="for accuracy: a checkout of ua-parser-js"
    )
    parser.add_argument(
        "--races", type=int, default=200, help="runs that end while the test looks for dead runs"
    )
    parser.add_argument(
        "--neighbour-seconds", type=float, default=90, help="how long another team's runs take"
    )
    parser.add_argument(
        "--days", type=int, default=400, help="for year: how many days the false clock walks"
    )
    parser.add_argument(
        "--keep-days", type=int, default=30, help="for year: the retention, at least 7"
    )
    parser.add_argument(
        "--neighbour-kills", type=int, default=3, help="kills of our runs beside another team's"
    )
    parser.add_argument("--worlds", type=int, default=3, help="for suppression, each a minute")
    parser.add_argument(
        "--people", type=int, default=40, help="for suppression: the most people of an app on a day"
    )
    parser.add_argument(
        "--cells",
        type=int,
        default=200,
        help="for suppression: how many small cells of a world are tried",
    )
    options = parser.parse_args()
    for name in options.parts or DEFAULT_PARTS:
        print(f"{name}: seed {options.seed}", flush=True)
        started = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        folder.chmod(0o755)
        # `atexit` calls the newest function first. This one is registered before the database
        # starts, so the folder is removed after the database has stopped.
        remove = partial(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(remove)
        try:
            figures = PARTS[name](folder, options.seed, options)
        except (FaultFoundError, StuckError) as fault:
            atexit.unregister(remove)
            print(f"{name}: BROKEN: {fault}; look at the files in {folder}", flush=True)
            return 1
        finally:
            kill_children()
            stop_servers(folder)
        print(f"{name}: {figures}; {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
