"""The time of a piece of work: wall seconds and CPU seconds.

The CPU seconds are those of this process, its children and PostgreSQL together.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time and CPU.

    `cpu` is `client` (this process and its finished children) plus `server` (all of PostgreSQL's
    processes).
    """

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """CPU seconds of both sides."""
        return self.client + self.server

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of doing both, one after the other."""
        return Cost(self.wall + other.wall, self.client + other.client, self.server + other.server)

    def as_dict(self) -> Mapping[str, float]:
        """Return the object for `results.json`."""
        return {"wall": self.wall, "cpu": self.cpu, "client": self.client, "server": self.server}


class Stopwatch:
    """Measures work against one PostgreSQL server, known by its postmaster's process id."""

    def __init__(self, postmaster: int) -> None:
        self._postmaster = psutil.Process(postmaster)

    def cost(self, work: Callable[[], object]) -> Cost:
        """Do the work once, and return its cost."""
        gc.collect()
        wall, client, server = time.perf_counter(), _own_seconds(), self._server_seconds()
        work()
        return Cost(
            time.perf_counter() - wall,
            _own_seconds() - client,
            self._server_seconds() - server,
        )

    def _server_seconds(self) -> float:
        # The postmaster's times include those of its children that have ended. If the children
        # change meanwhile, one could be counted twice, so all times are read again.
        while True:
            children = self._postmaster.children()
            try:
                total = sum(sum(child.cpu_times()[:2]) for child in children)
                total += sum(self._postmaster.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
            if self._postmaster.children() == children:
                return total


def _own_seconds() -> float:
    own, ended = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def median(costs: Iterable[Cost]) -> Cost:
    """Return the median of each figure by itself."""
    every = list(costs)
    return Cost(
        statistics.median(cost.wall for cost in every),
        statistics.median(cost.client for cost in every),
        statistics.median(cost.server for cost in every),
    )
