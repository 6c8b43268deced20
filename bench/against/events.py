"""`eventCreate` over HTTP: at full speed, at half of that rate, and one event after another."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.against.builds import Build
from bench.against.comparison import Figure, Reading
from bench.against.home import Home
from bench.against.turns import Scale, Turn
from bench.wire import AT_LEAST, WARM_UP, ask_all, exchange

CONNECTIONS = 32
WHAT = "`eventCreate`, token and signature checked, committed, one worker"


@contextmanager
def events(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure one worker. The CPU of `serve` and its children counts, the client's does not."""
    with scale.home(build) as home:
        asyncio.run(ask_all(home.port, scale.gateway.events(WARM_UP, "first"), CONNECTIONS))
        count = max(AT_LEAST, scale.events // 100)
        few = max(300, scale.events // 1000)
        sent = WARM_UP

        def turn(number: int) -> list[Reading]:
            nonlocal sent
            full = scale.gateway.events(count, f"full-{number}")
            read, rate = _at_full_speed(home, full)
            half = scale.gateway.events(count, f"half-{number}")
            p99 = asyncio.run(_latencies(home.port, half, rate / 2))
            alone = _one_by_one(home, scale.gateway.events(few, f"alone-{number}"))
            sent += 2 * count + few
            if (stored := home.ask("select count(*) from signal.events")) != sent:
                raise RuntimeError(f"{stored} of {sent} events were stored")
            return [
                read,
                Reading(
                    f"the same at half of the build's own rate, {CONNECTIONS} connections",
                    {
                        "p99": Figure(_percentile(p99, 99), target=0.025),
                        "median": Figure(statistics.median(p99)),
                    },
                ),
                alone,
            ]

        yield turn


def _at_full_speed(home: Home, requests: Sequence[bytes]) -> tuple[Reading, float]:
    """Return what an event costs, and the rate of events a second."""
    cost, used = home.cost(lambda: asyncio.run(ask_all(home.port, requests, CONNECTIONS)))
    count = len(requests)
    figures = {
        "wall": Figure(cost.wall / count),
        "CPU of `serve`": Figure(used / count, ratio_target=0.55),
        "CPU of PostgreSQL": Figure(cost.server / count),
    }
    return Reading(f"{WHAT}, {CONNECTIONS} connections", figures), count / cost.wall


def _one_by_one(home: Home, requests: Sequence[bytes]) -> Reading:
    cost, used = home.cost(lambda: asyncio.run(ask_all(home.port, requests, 1)))
    count = len(requests)
    figures = {
        "wall": Figure(cost.wall / count),
        "CPU": Figure((used + cost.server) / count, ratio_target=0.5),
        "CPU of PostgreSQL": Figure(cost.server / count, ratio_target=0.5),
    }
    return Reading("one event alone, 1 connection", figures)


async def _latencies(port: int, requests: Sequence[bytes], rate: float) -> list[float]:
    """Send `rate` requests a second; return how long after its due time each was answered.

    A request that waits for a free connection is late, and its wait counts.
    """
    taken: list[float] = []
    clock = asyncio.get_running_loop().time
    numbered, began = iter(enumerate(requests)), clock()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, request in numbered:
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - clock()))
            await exchange(reader, writer, request)
            taken.append(clock() - due)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return taken


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
