"""Asks two builds in turn, and keeps going if one of them fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.against.builds import Build
from bench.against.comparison import Reading, Row, compare
from bench.against.gateway import Gateway
from bench.against.home import Home, open_home
from bench.traffic import YESTERDAY
from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.simulation.traffic import simulate


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured, and where files go.

    `events` is the size of the ingested file, from which other sizes follow. `days` is the length
    of the backfill.
    """

    folder: Path
    gateway: Gateway
    events: int
    days: int
    rounds: int

    def home(self, build: Build) -> AbstractContextManager[Home]:
        """Return a new home of a build, empty and served."""
        return open_home(build, self.folder, self.gateway.variables)

    def lines(self, days: int, per_day: int, *, before: int = 0, seed: int = 1) -> Path:
        """Return a file of simulated lines of `days` days in a row.

        The last of these days is `before` days before yesterday. A day has about `per_day` lines,
        more on weekdays and fewer on weekends.
        """
        path = self.folder / f"lines-{days}-{per_day}-{before}-{seed}.ndjson"
        if not path.exists():
            with path.open("wb") as file:
                file.writelines(
                    simulate(
                        catalogue=load_catalogue(None),
                        days=days,
                        events_per_day=per_day,
                        end=YESTERDAY - timedelta(days=before),
                        seed=seed,
                    )
                )
        return path


# One turn of one build: given the number of the round, it returns what it read.
Turn = Callable[[int], Sequence[Reading]]
# Prepares one build for its turns.
Measure = Callable[[Scale, Build], AbstractContextManager[Turn]]


def ask_in_turn(
    name: str, measure: Measure, scale: Scale, revision: Build, this: Build
) -> list[Row]:
    """Return the rows of one measure: first the revision, then this tree, in each round.

    A build that fails is not asked again, and its failure is in the rows.
    """
    failures: dict[str, str] = {}
    readings: dict[str, list[Sequence[Reading]]] = {revision.side: [], this.side: []}
    turns: dict[str, Turn] = {}
    with ExitStack() as stack:
        for build in (revision, this):
            with _noted(failures, build.side):
                turns[build.side] = stack.enter_context(measure(scale, build))
        for number in range(scale.rounds):
            for side, turn in turns.items():
                if side not in failures:
                    with _noted(failures, side):
                        readings[side].append(turn(number))
            say(f"  {name}: round {number + 1} of {scale.rounds}")
    rows = compare(readings[revision.side], readings[this.side], failures)
    return rows or [Row(name, failures=failures)]


@contextmanager
def _noted(failures: dict[str, str], side: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split())
        failures[side] = f"failed: {type(error).__name__}: {text[-300:]}"
        say(f"  {side}: {failures[side]}")


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)
