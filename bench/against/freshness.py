"""How long an event takes from its commit to every rollup, under `signal-pipeline dev`."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from math import ceil
from random import Random

from bench.against.builds import Build
from bench.against.comparison import Figure, Reading
from bench.against.gateway import ask
from bench.against.home import Home, stop
from bench.against.turns import Scale, Turn
from bench.freshness import answers, wait_until
from bench.wire import free_port
from signal_pipeline.days.calendar import today_utc

SAMPLES = 20
ROLLUPS = ("app", "device", "route", "entity", "browser", "os")
CREATE = """mutation ($input: EventCreateInput!) { eventCreate(input: $input) { id } }"""


@contextmanager
def freshness(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure some twenty events in all, at random moments; `dev` of both builds runs meanwhile."""
    random = Random(1)  # noqa: S311 - moments, not secrets
    with scale.home(build) as home, _dev(home):
        created, began = 0, today_utc()

        def sample() -> float:
            nonlocal created
            created += 1
            _create(scale, home, created)
            committed = time.perf_counter()
            wait_until(lambda: _in_every_rollup(home, began) == created, 300)
            return time.perf_counter() - committed

        def turn(_: int) -> list[Reading]:
            seconds = []
            for _ in range(ceil(SAMPLES / scale.rounds)):
                time.sleep(random.uniform(1, 15))
                seconds.append(sample())
            figures = {"median": Figure(statistics.median(seconds), ratio_target=0.5)}
            return [Reading("event committed → in every rollup, `dev`, defaults", figures)]

        sample()  # The first event also waits for the code location to load.
        yield turn


@contextmanager
def _dev(home: Home) -> Iterator[None]:
    port = free_port()
    with (home.folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [home.build.command, "dev", "--port", str(port)],
            env=dict(home.environment),
            cwd=home.folder,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: answers(port), 300)
        yield
    finally:
        stop(process)


def _create(scale: Scale, home: Home, number: int) -> None:
    """Create an event that has an entity, so that every rollup counts it."""
    event = {
        "eventType": "editor_analytics_overlay_opened",
        "appName": "journeys-admin",
        "route": "/journeys",
        "entityType": "journey",
        "entityId": str(uuid.uuid4()),
        "sessionId": str(uuid.uuid4()),
        "clientEventId": str(uuid.uuid4()),
    }
    request = scale.gateway.question(CREATE, {"input": event}, f"fresh-{number}")
    if json.loads(ask(home.port, request))["data"]["eventCreate"] is None:
        raise RuntimeError("the event was not stored")


def _in_every_rollup(home: Home, began: date) -> int:
    """Return how many events since this date are in the rollup that has the fewest."""
    each = " union all ".join(
        f"select coalesce(sum(events), 0) as events from signal.daily_{name}_activity"
        f" where event_type = '(all)' and activity_date >= '{began}'"
        for name in ROLLUPS
    )
    return home.ask(f"select min(events)::bigint from ({each}) as r")
