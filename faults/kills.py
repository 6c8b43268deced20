"""Kill tests: processes die by SIGKILL at random points, and PostgreSQL stops at once.

What is left is compared with the oracle. A round has a due day and a recent day of its own.
Ingests, a drain, an erasure, builds, backfills and the retention work on these two days, several at
a time, and are killed. Servers of the API are killed too; their events belong to today. Then all
this work is run to its end, undisturbed, and the result is checked.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

from faults import actions, oracle
from faults.api_kills import ApiUnderFire, outage
from faults.checks import faults
from faults.file_forms import PACKINGS
from faults.world import SECRET, FaultFoundError, World, wait_for_midnight

KEPT_DAYS = 180
RECENT_DAYS = 60
LINES = 150
DROPS, BOTS = 7, 5
POSTGRES_SHARE = 0.12
ROUNDS_PER_BACKFILL = 8
API_SHARE = 0.4
ROUNDS_PER_OUTAGE = 2
ROUND_SECONDS = 120  # A round takes less than this.


@dataclass(slots=True)
class Tally:
    """What was done.

    `kills` counts processes that were alive when they were killed, by what they were doing; `late`
    counts those that had ended before. `seconds` is how long each kind of work usually takes.
    """

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    late: int = 0
    api_events: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All kills."""
        return self.kills.total()


class Work:
    """Something to do, and the name that the tally counts it under."""

    def __init__(self, name: str, action: Callable[..., None], *arguments: object) -> None:
        self.name, self.action, self.arguments = name, action, arguments


class KillTest:
    """Rounds of kills on one world; the same seed makes the same choices."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.days: dict[date, oracle.Day] = {}
        self.tally = Tally(
            seconds={
                "ingest": 0.3,
                "drain": 0.3,
                "api": 2.5,
                "build": 0.5,
                "backfill": 3.0,
                "retention": 0.5,
                "erase": 0.3,
            }
        )
        self._today = datetime.now(UTC).date()
        self._api = ApiUnderFire(world, self._today, Random(f"{seed}/api"))
        self.tally.api_events = self._api.counts

    def prepare(self) -> None:
        """Start and migrate; a first, empty backfill makes Dagster's storage."""
        self.world.finish(actions.migrate_all)
        self.world.finish(actions.backfill, self._today, self._today)

    def run(self, kills: int, seconds: float, report: Callable[[str], None] = print) -> Tally:
        """Run rounds until there were that many kills, or that many seconds have passed.

        Raises FaultFoundError at the first broken promise.
        """
        give_up = time.monotonic() + seconds
        while self.tally.total < kills and time.monotonic() < give_up:
            self.round()
            if self.tally.rounds % 5 == 0:
                report(
                    f"round {self.tally.rounds}: {self.tally.total} kills {dict(self.tally.kills)}"
                )
        self._verify(self.days, "at the end")
        return self.tally

    def round(self) -> None:
        """Run one round."""
        self._today = self._api.day = wait_for_midnight(ROUND_SECONDS)
        number = self.tally.rounds
        random = Random(f"{self.seed}/{number}")
        due = self.world.start_date + timedelta(days=number % 230)
        recent = self._today - timedelta(days=1 + number % RECENT_DAYS)
        files = {day: self._make_lines(day, random, number) for day in (due, recent)}
        person = self._choose_person_to_erase(recent, random)
        # A run of Dagster takes seconds, so only one round in a few has one.
        whole_runs = (
            []
            if number % ROUNDS_PER_BACKFILL
            else [Work("backfill", actions.backfill, recent, recent)]
        )
        self._break_and_finish(
            [
                *(
                    Work("ingest", actions.ingest_file, files[day], _end_of(day))
                    for day in (due, recent)
                ),
                Work("drain", actions.drain, _end_of(due)),
                Work("erase", actions.erase_user, person, recent),
                Work("build", actions.build, recent),
                Work("build", actions.build, due),
                *whole_runs,
            ],
            random,
        )
        # The retention comes last: once a day is purged, Signal rightly refuses lines of that day.
        self._break_and_finish(
            [
                Work("ingest", actions.ingest_file, files[recent], _end_of(recent)),
                Work("build", actions.build, recent),
                Work("build", actions.build, due),
                Work("retention", actions.purge),
            ],
            random,
        )
        self.days[due].purged = True
        self._settle_api(number, random)
        self.tally.rounds += 1
        self._verify({day: self.days[day] for day in (due, recent, self._today)}, f"round {number}")

    def _make_lines(self, day: date, random: Random, number: int) -> Path:
        """Make new lines of a day: some for the command and, on a due day, some for the landing."""
        state = self.days.setdefault(day, oracle.Day())
        commanded = oracle.lines_of(day, oracle.OF_COMMAND, LINES, random)
        file = self.world.home / f"{day}.lines"
        file.write_bytes(oracle.encode(commanded))
        state.add(commanded)
        if day < self._today - timedelta(days=KEPT_DAYS):
            landed = oracle.lines_of(day, oracle.OF_LANDING, LINES, random)
            dropped = [
                {**line, "eventType": "no_such_type"}
                for line in oracle.lines_of(day, oracle.OF_LANDING, DROPS, random)
            ]
            bots = [
                {**line, "userAgent": oracle.BOT}
                for line in oracle.lines_of(day, oracle.OF_LANDING, BOTS, random)
            ]
            mixed = landed + dropped + bots
            random.shuffle(mixed)
            packing = random.choice(sorted(PACKINGS))
            self.world.land(str(number), PACKINGS[packing](oracle.encode(mixed)))
            state.add(landed)
            state.landing_drops += DROPS + BOTS
            state.landing_bots += BOTS
        return file

    def _choose_person_to_erase(self, day: date, random: Random) -> bytes:
        line = random.choice(
            sorted(self.days[day].stored.values(), key=lambda line: line["clientEventId"])
        )
        self.days[day].erase(line["appName"], line["ip"], line["userAgent"])
        return oracle.user_hash(SECRET, day, line)

    def _settle_api(self, number: int, random: Random) -> None:
        """Compare what the API acknowledged with what is stored.

        Every few rounds, the database is first taken away under the API.
        """
        if number % ROUNDS_PER_OUTAGE == 0:
            self.tally.kills += outage(self._api, self.world, random)
        found = self._api.settle(self.days.setdefault(self._today, oracle.Day()))
        if found:
            raise FaultFoundError(f"seed {self.seed}, round {number}: {'; '.join(found)}")
        self.world.finish(actions.build, self._today)

    def _break_and_finish(self, work: list[Work], random: Random) -> None:
        """Start some of the work, in any order, and kill it; then do all of it, in order."""
        for _ in range(random.randrange(2, 5)):
            chosen = random.sample(work, random.choice((1, 2, 2, 3)))
            victims = [
                (item.name, self.world.start(item.action, *item.arguments)) for item in chosen
            ]
            if random.random() < API_SHARE:
                victims.append(("api", self._api.start()))
            if random.random() < POSTGRES_SHARE:
                self._stop_postgres(random)
            for name, process in victims:
                self._kill(name, process, random)
            self._api.stop_sending()
        for item in work:
            seconds = self.world.finish(item.action, *item.arguments)
            self.tally.seconds[item.name] = 0.7 * self.tally.seconds[item.name] + 0.3 * seconds

    def _kill(self, name: str, process: BaseProcess, random: Random) -> None:
        process.join(random.uniform(0, 1.1) * self.tally.seconds[name])
        if process.is_alive():
            process.kill()
            self.tally.kills[name] += 1
        else:
            self.tally.late += 1
        process.join()

    def _stop_postgres(self, random: Random) -> None:
        time.sleep(random.uniform(0, 0.5))
        how = random.choice((signal.SIGQUIT, signal.SIGQUIT, signal.SIGKILL))
        if self.world.stop_postgres(how):
            self.tally.kills[f"postgres {how.name}"] += 1

    def _verify(self, days: dict[date, oracle.Day], when: str) -> None:
        with self.world.connect() as connection:
            found = faults(connection, days, self.world.home)
        if found:
            raise FaultFoundError(f"seed {self.seed}, {when}: {'; '.join(found)}")


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
