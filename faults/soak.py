"""The soak: everything runs at once, with deadlocks and serialization failures injected.

Ingesters, the API, builders, a backfill, the retention and erasures work at the same time. At the
end the database is compared with the oracle. Triggers in the soak's own database inject the
failures, at random statements of writers, builds and purges.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

from faults import actions, oracle
from faults.checks import faults
from faults.wire import NO_ANSWER, Client, Gateway, free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, SECRET, FaultFoundError, World, wait_for_midnight
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import open_database
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings

INGESTERS = 4
CALLERS = 3  # Callers of the API, at the same time.
REQUESTS_PER_SECOND = 30  # By each caller.
EVENTS_PER_REQUEST = 5
SETTLE_SECONDS = 180
DAYS = 3
DUE_DAYS = 12
BATCH = 120
ERASURES = 5
INJECTED = """
create function signal.inject() returns trigger language plpgsql as $$
begin
    if random() < 0.03 then
        if random() < 0.5 then
            raise exception using errcode = '40001', message = 'injected serialization failure';
        end if;
        raise exception using errcode = '40P01', message = 'injected deadlock';
    end if;
    return null;
end $$;
create trigger inject after insert or update on signal.books for each statement execute function signal.inject();
create trigger inject after insert or update on signal.builds for each statement execute function signal.inject();
create trigger inject after update on signal.days for each statement execute function signal.inject();
create trigger inject after insert on signal.receipts for each statement execute function signal.inject();
"""


def _batch(seed: int, who: int, number: int, days: list[date]) -> tuple[date, list[oracle.Line]]:
    """Return one batch of an ingester; its neighbour sends some of the lines too."""
    random = Random(f"{seed}/{who}/{number}")
    day = random.choice(days)
    own = oracle.lines_of(day, oracle.OF_COMMAND, BATCH, random)
    shared = oracle.lines_of(
        day, oracle.OF_COMMAND, 10, Random(f"{seed}/{who // 2}/{number}/{day}")
    )
    return day, own + shared


def keep_ingesting(seed: int, who: int, days: list[date], until: float, log: Path) -> None:
    """Run one ingester, which writes down each batch before it sends it.

    The oracle makes the batches again from these notes.
    """
    actions.quiet()
    ingest_module.BATCH_BYTES = actions.SMALL_BATCH
    number = 0
    with closing(Ingest.from_settings(load_settings())) as ingest, log.open("a") as file:
        while time.time() < until:
            file.write(json.dumps([who, number]) + "\n")
            file.flush()
            _, lines = _batch(seed, who, number, days)
            ingest.ingest_lines(oracle.encode(lines).splitlines())
            number += 1


def _request(seed: int, who: int, number: int, day: date) -> list[oracle.Line]:
    """Return one request of a caller: events of one person.

    The neighbouring caller sends the last event too, as the same person.
    """
    lines = oracle.lines_of(
        day, oracle.OF_API, EVENTS_PER_REQUEST - 1, Random(f"{seed}/api/own/{who}/{number}")
    )
    lines += oracle.lines_of(
        day, oracle.OF_API, 1, Random(f"{seed}/api/shared/{who // 2}/{number}")
    )
    person = oracle.lines_of(
        day, oracle.OF_API, 1, Random(f"{seed}/api/person/{who // 2}/{number}")
    )[0]
    return [{**line, "ip": person["ip"], "userAgent": person["userAgent"]} for line in lines]


def keep_calling(seed: int, who: int, port: int, day: date, until: float, log: Path) -> None:
    """Run one caller of the API, at a steady pace.

    It repeats a request until all events are acknowledged, and then writes the request down.
    """
    actions.quiet()
    number = 0
    started = time.time()
    with (
        closing(Client(port, Gateway(load_settings(), f"caller-{who}"))) as client,
        log.open("a") as file,
    ):
        while time.time() < until:
            lines = _request(seed, who, number, day)
            while not _acknowledged(client, lines):
                if time.time() > until + PATIENCE_SECONDS:
                    raise SystemExit("the API does not acknowledge")
                time.sleep(0.1)
            file.write(json.dumps([who, number]) + "\n")
            number += 1
            time.sleep(max(0.0, started + number / REQUESTS_PER_SECOND - time.time()))


def _acknowledged(client: Client, lines: list[oracle.Line]) -> bool:
    try:
        answer = client.send(lines)
    except NO_ANSWER:
        return False
    return not answer.refused and {outcome for outcome, _ in answer.outcomes} <= {
        "accepted",
        "duplicate",
    }


def keep_building(days: list[date], until: float, pause: float) -> None:
    """Run one builder, which builds day after day, whatever their state."""
    actions.quiet()
    settings, models = load_settings(), load_models()
    database = open_database(settings)
    engine = open_engine(settings, database)
    while time.time() < until:
        for day in days:
            with suppress(SignalError):  # The day is purged, or not there yet.
                build_day(database, engine, models, day)
        time.sleep(pause)


def keep_purging(until: float) -> None:
    """Run the retention again and again."""
    actions.quiet()
    settings = load_settings()
    while time.time() < until:
        retention.purge_due_days(open_database(settings), load_models(), settings.retention_days)
        time.sleep(0.5)


def keep_erasing(people: list[tuple[bytes, date]], until: float) -> None:
    """Erase a few people again and again while their events still come in."""
    actions.quiet()
    while time.time() < until:
        for user_hash, day in people:
            erase(
                open_database(load_settings()),
                Subject.user(user_hash, day),
                actions.ACTOR,
            )
        time.sleep(1)


def soak(world: World, seed: int, seconds: float) -> dict[str, int]:
    """Run everything at once for that long, finish, and compare; return figures.

    Raises FaultFoundError.
    """
    today = wait_for_midnight(seconds + SETTLE_SECONDS)
    recent = [today - timedelta(days=n) for n in range(1, DAYS + 1)]
    # These days are 180 days ago and earlier, since the start date is 420 days ago.
    due = [world.start_date + timedelta(days=300 - 60 - n) for n in range(DUE_DAYS)]
    due = [day for day in due if day < today - timedelta(days=180)]
    world.finish(actions.migrate_all)
    state = {day: oracle.Day() for day in [today, *recent, *due]}
    for day in due:
        state[day].add(_ingest_due_day(world, seed, day))
    with world.connect() as connection:
        connection.execute(INJECTED)
    port = free_port()
    api = _start_api(world, seed, port)
    until = time.time() + seconds
    log, calls = world.home / "batches.log", world.home / "calls.log"
    people = [_person(seed, n, recent) for n in range(ERASURES)] + [
        (_request(seed, 0, 0, today)[0], today)
    ]
    erased = [(oracle.user_hash(SECRET, day, line), day) for line, day in people]
    processes = [
        *(world.start(keep_ingesting, seed, who, recent, until, log) for who in range(INGESTERS)),
        *(
            world.start(keep_calling, seed, who, port, today, until, calls)
            for who in range(CALLERS)
        ),
        world.start(keep_building, [today, *recent], until, 0.2),
        world.start(keep_building, [*due, *recent], until, 1.0),
        world.start(keep_purging, until),
        world.start(keep_erasing, erased, until),
    ]
    backfills = 0
    while time.time() < until:
        world.finish(actions.backfill, recent[-1], today)
        backfills += 1
    _wait_for_end(world, seed, processes)
    _stop_api(world, seed, api)
    requests = [tuple(json.loads(text)) for text in calls.read_text().splitlines()]
    for who, number in requests:
        state[today].add(_request(seed, who, number, today))
    figures = _settle(world, seed, state, recent, due, people, log)
    return figures | {"requests of the API": len(requests), "backfills": backfills}


def _ingest_due_day(world: World, seed: int, day: date) -> list[oracle.Line]:
    """Ingest a day's lines by the clock of that day, and return them."""
    lines = oracle.lines_of(day, oracle.OF_COMMAND, BATCH, Random(f"{seed}/{day}"))
    file = world.home / f"{day}.lines"
    file.write_bytes(oracle.encode(lines))
    evening = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    world.finish(actions.ingest_file, file, evening)
    return lines


def _start_api(world: World, seed: int, port: int) -> BaseProcess:
    api = world.start(actions.serve, port, world.home / "spool", None)
    if not wait_until_up(port, PATIENCE_SECONDS):
        raise FaultFoundError(
            f"seed {seed}: the API does not start: see {world.home / actions.ERRORS}"
        )
    return api


def _wait_for_end(world: World, seed: int, processes: list[BaseProcess]) -> None:
    for process in processes:
        process.join(120)
        if process.is_alive() or process.exitcode:
            process.kill()
            raise FaultFoundError(
                f"seed {seed}: {process} hung or failed: see {world.home / actions.ERRORS}"
            )


def _stop_api(world: World, seed: int, api: BaseProcess) -> None:
    api.terminate()
    api.join(PATIENCE_SECONDS)
    if api.exitcode != 0:
        api.kill()
        raise FaultFoundError(
            f"seed {seed}: the API ended with {api.exitcode}: see {world.home / actions.ERRORS}"
        )


def _person(seed: int, number: int, recent: list[date]) -> tuple[oracle.Line, date]:
    day, lines = _batch(seed, number % INGESTERS, 0, recent)
    return lines[number], day


def _settle(
    world: World,
    seed: int,
    state: dict[date, oracle.Day],
    recent: list[date],
    due: list[date],
    people: list[tuple[oracle.Line, date]],
    log: Path,
) -> dict[str, int]:
    with world.connect() as connection:
        connection.execute("drop function signal.inject() cascade")
    batches = [tuple(json.loads(text)) for text in log.read_text().splitlines()]
    for who, number in batches:
        day, lines = _batch(seed, who, number, recent)
        state[day].add(lines)
    for line, day in people:
        state[day].erase(line["appName"], line["ip"], line["userAgent"])
        world.finish(actions.erase_user, oracle.user_hash(SECRET, day, line), day)
    for day in state:
        world.finish(actions.build, day)
    world.finish(actions.purge)
    for day in due:
        state[day].purged = True
    with world.connect() as connection:
        found = faults(connection, state, world.home)
    if found:
        raise FaultFoundError(f"seed {seed}, soak: {'; '.join(found)}")
    return {
        "batches": len(batches),
        "events": sum(len(day.stored) for day in state.values()),
        "purged days": len(due),
    }
