"""The walk of the long year: its days, its nights, and the oracle's view of both."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from random import Random

import dagster as dg

from faults import actions, false_clock, oracle
from faults.checks import faults
from faults.wire import Client, Gateway
from faults.world import SECRET, FaultFoundError, World
from faults.year_api import YearApi, send, with_newer_bots
from faults.year_lines import LATE_DAYS, Lines, before, someone
from faults.year_sizes import Sizes, growing, measure
from signal_pipeline.dagster.liveness import QUIET
from signal_pipeline.dagster.log_alerts import red_checks
from signal_pipeline.definitions import defs
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import open_database
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.settings import load_settings

REQUESTS = 3
MISSED_NIGHTS = 0.06
HOLE_NIGHTS = 3  # How many nights a due day lacks its raw events, before they are put back.
MEASURE_EVERY = 5
NEW_SECRET = SECRET.replace("faults", "faults-after-a-rotation")


class Year:
    """The walk through the days.

    `state` is what the oracle expects of each day, and `received` counts all lines that were sent.
    """

    def __init__(self, world: World, days: int, seed: int) -> None:
        self.world, self.days, self.seed = world, days, seed
        self.clock, self.lines, self.random = (
            false_clock.FalseClock(),
            Lines(seed),
            Random(f"{seed}/walk"),
        )
        self.first = datetime.now(UTC).date()
        self.state: dict[date, oracle.Day] = {}
        self.secrets: dict[date, str] = {}
        self.received = 0
        self.done: Counter[str] = Counter()
        self.red: Counter[str] = Counter()
        self.sizes: list[Sizes] = []
        self.newer_bots, self.secret = False, SECRET
        self.rotated = self.first
        # The day whose rows are missing, and the last night without them.
        self.hole: tuple[date, date] | None = None
        self.red_before_hole = 0
        # True while a day waits for its build: a night was missed, or events were erased. No sensor
        # runs here, so the next night builds the day.
        self.waits = False
        self.api = YearApi(world)
        self.settings = load_settings()
        self.keep = self.settings.retention_days
        self.database = open_database(self.settings)

    def walk(self, instance: dg.DagsterInstance) -> None:
        """Walk day after day, then compare. Raises FaultFoundError."""
        self.instance = instance
        started = time.monotonic()
        for number in range(self.days):
            day = self.first + timedelta(days=number)
            self._day(number, day)
            self._night(number, day)
            if (number + 1) % MEASURE_EVERY == 0 or number + 1 == self.days:
                self._measure(number + 1, (time.monotonic() - started) / (number + 1))
        self._compare()

    def _day(self, number: int, day: date) -> None:
        """At noon come requests, and on some days an erasure or a new release.

        On some days, late lines come at 18:00.
        """
        self.state[day], self.secrets[day] = oracle.Day(), self.secret
        self._set_clock(day, "12:00")
        if number == self.days * 2 // 5:
            with_newer_bots()
            self.newer_bots = True
        if number in (0, self.days * 2 // 5) or number % 50 == 0:
            self._restart_api()
        with closing(Client(self.api.port, Gateway(self.settings, f"people-{day}"))) as client:
            for request in range(REQUESTS):
                lines = self.lines.of_api(day, request)
                # Now and then there is a retry, whose events are all duplicates.
                for _ in range(1 + (self.random.random() < 0.2)):
                    send(client, lines)
                    self.received += len(lines)
                self.state[day].add(lines)
        if number % 5 == 4:
            self._erase(before(day, self.random.randrange(4)))
            self.waits = True
        if number % 3 == 2:
            self._late(day)

    def _night(self, number: int, day: date) -> None:
        """After midnight: the day's file and a command's lines come, then the nightly run.

        Then Dagster is pruned.
        """
        tomorrow = day + timedelta(days=1)
        self._set_clock(tomorrow, "00:05")
        self._land(day, self._lines_of_file(day))
        self._ingest(day)
        # A hole comes once per retention, and early enough that the walk still sees the purge.
        if number % (self.keep + 1) == self.keep and number + HOLE_NIGHTS + 2 < self.days:
            self._make_hole(
                before(tomorrow, self.keep + 1), tomorrow + timedelta(days=HOLE_NIGHTS - 1)
            )
        self._set_clock(tomorrow, "00:30")
        rotates = number == self.days * 3 // 5
        missed = self.random.random() < MISSED_NIGHTS and number + 1 < self.days
        # Before a rotation the night is never missed: what waits in the landing must be hashed with
        # the secret of its day.
        if missed and not rotates:
            self.done["missed nights"] += 1
            self.waits = True
        else:
            self._nightly(day, tomorrow)
        if rotates:
            self._rotate(tomorrow)
        if self.hole and tomorrow >= self.hole[1]:
            self._fill_hole()
        self._set_clock(tomorrow, "01:45")
        self._run("pruning_job", None)

    def _set_clock(self, day: date, hour: str) -> None:
        self.clock.set(false_clock.utc(f"{day} {hour}"))

    def _run(self, job: str, day: date | None) -> None:
        result = (
            defs()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=str(day) if day else None,
                run_config=QUIET,
                raise_on_error=False,
            )
        )
        self.done[job] += 1
        if not result.success:
            raise FaultFoundError(f"seed {self.seed}: {job} of {day} failed")
        for line in red_checks(self.instance, result.run_id):
            name = line.split(" ")[1]
            self.red[name] += 1
            by_hole = self.hole is not None and name in ("books_reconcile", "nothing_overdue")
            if not by_hole and not (self.waits and name in ("no_day_waits", "yesterday_is_built")):
                raise FaultFoundError(f"seed {self.seed}: after {job} of {day}: {line}")

    def _nightly(self, day: date, tomorrow: date) -> None:
        self.waits = False
        self._run("nightly_job", day)
        for old, expected in self.state.items():
            if old < before(tomorrow, self.keep) and (self.hole is None or old != self.hole[0]):
                expected.purged = True

    def _restart_api(self) -> None:
        self.api.restart(self.newer_bots)
        self.done["starts of the API"] += 1

    def _lines_of_file(self, day: date) -> list[oracle.Line]:
        expected, good = self.state[day], self.lines.of_file(day)
        bots, unknown = self.lines.bots(day), self.lines.unknown(day)
        expected.add(good)
        expected.landing_bots += len(bots)
        expected.landing_drops += len(bots) + len(unknown)
        return [*good, *bots, *unknown]

    def _late(self, day: date) -> None:
        """Land a file with lines of earlier days in the evening.

        Then run what the sensors would ask for: the drain of the landing, the build, the checks.
        """
        earlier = before(day, self.random.randrange(1, min(LATE_DAYS, self.keep - 2)))
        lines = []
        # Before a rotation the same person has another hash.
        if earlier >= self.rotated and earlier in self.state:
            lines += self.lines.late(earlier, day)
            self.state[earlier].add(lines)
        purged = before(day, self.keep + 5)
        if purged in self.state and self.state[purged].purged:
            lines += self.lines.too_late(purged, day)
            self.state[purged].landing_drops += 1
        if not lines:
            return
        self._set_clock(day, "18:00")
        self._land(day, lines, "late")
        self._run("raw_events_job", day)
        if earlier in self.state:
            self._run("rollups_job", earlier)
        self._run("checks_job", None)

    def _land(self, day: date, lines: list[oracle.Line], kind: str = "day") -> None:
        self.world.land(f"{day}-{kind}", oracle.encode(lines))
        self.received += len(lines)

    def _ingest(self, day: date) -> None:
        """Ingest the command's lines; the next release's list of bots drops ExampleAuditor's.

        `year_lines.py` says why.
        """
        lines = self.lines.of_command(day)
        with closing(Ingest.from_settings(self.settings, self.database)) as ingest:
            counts = ingest.ingest_stream(BytesIO(oracle.encode(lines)))
        self.received += len(lines)
        people = [
            line
            for line in lines
            if not (self.newer_bots and "ExampleAuditor" in line["userAgent"])
        ]
        self.state[day].add(people)
        if (counts.accepted, counts.dropped["bot"]) != (len(people), len(lines) - len(people)):
            raise FaultFoundError(
                f"seed {self.seed}: {day}: the command counted {counts.as_dict()}"
            )
        self.done["bots by the newer list"] += len(lines) - len(people)

    def _erase(self, day: date) -> None:
        line = someone(self.state[day].stored, self.random) if day in self.state else None
        if line is None:
            return
        self.state[day].erase(line["appName"], line["ip"], line["userAgent"])
        who = oracle.user_hash(self.secrets[day], day, line)
        erase(self.database, Subject.user(who, day), actions.ACTOR)
        self.done["erasures"] += 1

    def _rotate(self, day: date) -> None:
        """Change the secret, after the files of earlier days have come in."""
        self._set_clock(day, "00:50")
        self.secret = NEW_SECRET
        self.world.set("SIGNALS_SALT_SECRET", NEW_SECRET)
        self.settings = load_settings()
        self.rotated = day
        self._restart_api()
        self.done["rotations"] += 1

    def _make_hole(self, day: date, last_night: date) -> None:
        with self.database.connect() as connection:
            where = (
                "created_at >= %s::timestamptz and created_at < %s::timestamptz + interval '1 day'"
            )
            start = f"{day} 00:00+00"
            connection.execute(
                f"create table held as select * from signal.events where {where}", [start, start]
            )
            connection.execute(f"delete from signal.events where {where}", [start, start])
        self.hole = day, last_night
        self.red_before_hole = self.red["books_reconcile"]

    def _fill_hole(self) -> None:
        assert self.hole
        if self.red["books_reconcile"] == self.red_before_hole:
            raise FaultFoundError(
                f"seed {self.seed}: {self.hole[0]} has lost its rows, and no check was red"
            )
        with self.database.connect() as connection:
            connection.execute("insert into signal.events select * from held")
            connection.execute("drop table held")
        self.hole = None
        self.done["days refused for some nights"] += 1

    def _measure(self, days: int, seconds: float) -> None:
        with self.database.connect() as connection:
            self.sizes.append(measure(connection, self.world.home, days, seconds))
        print(self.sizes[-1].line(), flush=True)

    def _compare(self) -> None:
        """Compare every day with the oracle, and all that was sent with the books."""
        self.api.stop()
        with self.database.connect() as connection:
            found = faults(connection, self.state, self.world.home)
            sums = connection.execute(
                "select (select coalesce(sum(events), 0)::bigint from signal.intake), (select"
                " coalesce(sum(events), 0)::bigint from signal.books where outcome <> 'erased')"
            ).fetchone()
        if sums != (self.received, self.received):
            found.append(f"{self.received} were sent, the intake and the books hold {sums}")
        found += [
            f"{name} grows: {sizes}" for name, sizes in growing(self.sizes, 3 * self.keep).items()
        ]
        if found:
            raise FaultFoundError(
                f"seed {self.seed}, {len(found)} fault(s): {'; '.join(found[:10])}"
            )
