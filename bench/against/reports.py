"""Numbers asked for over GraphQL: from a rollup, and counted from raw events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from bench.against.builds import Build
from bench.against.comparison import Figure, Reading
from bench.against.gateway import ask
from bench.against.turns import Scale, Turn
from bench.traffic import YESTERDAY

DAYS = 30
# One answer takes PostgreSQL a few milliseconds, but the clock of CPU time ticks only every ten.
# So the same question is asked many times.
TIMES_OF_ROLLUP = 100
ROLLUP = """query ($from: Date!, $to: Date!) {
  eventStats(by: APP, from: $from, to: $to, period: DAY) {
    rows { day appName eventType events users sessions states } suppressedRows notes } }"""
RAW = """query ($from: Date!, $to: Date!) {
  eventStats(groupBy: [BROWSER, DEVICE], from: $from, to: $to) {
    rows { browserFamily deviceType events summedDailyUsers states } suppressedRows notes } }"""


@contextmanager
def reports(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure questions about 30 days; at full scale, each day has about 29,400 lines."""
    per_day = max(100, scale.events * 294 // 10_000)
    with scale.home(build) as home:
        lines = home.ingest(scale.lines(DAYS, per_day, seed=5))
        first = YESTERDAY - timedelta(days=DAYS - 1)
        home.backfill(first, YESTERDAY)
        variables = {"from": str(first), "to": str(YESTERDAY)}

        def asked(query: str, user: str, times: int) -> Mapping[str, Figure]:
            request = scale.gateway.question(query, variables, user)
            if not json.loads(ask(home.port, request))["data"]["eventStats"]["rows"]:
                raise RuntimeError("eventStats has no rows")
            cost, used = home.cost(lambda: [ask(home.port, request) for _ in range(times)])
            return {
                "latency": Figure(cost.wall / times),
                "CPU of `serve`": Figure(used / times),
                "CPU of PostgreSQL": Figure(cost.server / times),
            }

        def turn(number: int) -> list[Reading]:
            rollup = asked(ROLLUP, f"rollup-{number}", TIMES_OF_ROLLUP)
            raw = asked(RAW, f"raw-{number}", 1)
            return [
                Reading(
                    f"`eventStats`, {DAYS} days of one rollup",
                    _with_targets(rollup, {"latency": 0.3, "CPU of PostgreSQL": 0.3}),
                ),
                Reading(
                    f"raw `groupBy` of two keys that no rollup holds, {DAYS} days, {lines:,} lines",
                    _with_targets(raw, {"latency": 0.15}),
                ),
            ]

        yield turn


def _with_targets(
    figures: Mapping[str, Figure], targets: Mapping[str, float]
) -> Mapping[str, Figure]:
    return {
        name: Figure(figure.value, figure.unit, targets.get(name))
        for name, figure in figures.items()
    }
