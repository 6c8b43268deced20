"""The attack on hidden rows: an analyst asks everything, and then solves for small cells.

Each world is made from a seed. Worlds are small, since the analyst looks for small cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import date
from itertools import combinations, product

from faults.suppression_questions import KEYS, SPLITS, Analyst, ask_as
from faults.suppression_solver import Cell
from faults.suppression_world import make_world, store
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

FIVE = 5


@dataclass(slots=True)
class Recovered:
    """Hidden cells of one to four people, and how many the analyst recovered."""

    hidden: int = 0
    exactly: int = 0
    of_one_person: int = 0
    one_person_exactly: int = 0
    under_five: int = 0  # Not recovered exactly, but known to have at most four events or people.
    questions: int = 0
    large: Counter[str] = field(default_factory=Counter)  # Rows of five people or more, by kind.
    large_hidden: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.hidden} hidden cells tried ({self.of_one_person} of one person), {self.exactly}"
            f" recovered exactly ({self.one_person_exactly} of one person), {self.under_five} more"
            f" narrowed to under five; {self.questions} questions; rows of five people or more left"
            " out too: "
            + ", ".join(
                f"{self.large_hidden[kind]} of {count} {kind}" for kind, count in self.large.items()
            )
        )

    def add(self, other: Recovered) -> None:
        """Add another world's figures."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


def small_and_large(analyst: Analyst) -> tuple[list[tuple[Cell, int]], list[Cell]]:
    """Return every cell that has clicks and that a question can ask for, over every window.

    The first list has the small cells, each with its number of people. The second has the large
    cells.
    """
    people: dict[Cell, dict[str, set[tuple[str, int]]]] = {}
    for (first, last), size in product(analyst.windows(), range(len(KEYS))):
        for names in combinations([name for name in KEYS if name != "day"], size):
            for click in analyst.clicks:
                if first <= click.day <= last:
                    cell = analyst.cell({name: click.value(name) for name in names}, first, last)
                    days = people.setdefault(cell, {})
                    days.setdefault(str(click.day), set()).add((click.app_name, click.person))
    peaks = {cell: max(map(len, days.values())) for cell, days in people.items()}
    small = [
        (cell, sum(map(len, people[cell].values()))) for cell, peak in peaks.items() if peak < FIVE
    ]
    return small, [cell for cell, peak in peaks.items() if peak >= FIVE]


def solve(analyst: Analyst, most: int) -> Recovered:
    """Try to recover small cells, at most `most` of them."""
    small, large = small_and_large(analyst)
    figures = Recovered(questions=analyst.questions)
    figures.large = Counter(_kind(cell) for cell in large)
    figures.large_hidden = Counter(_kind(cell) for cell in large if cell not in analyst.events.sums)
    analyst.random.shuffle(small)
    # Cells of few dimensions come first: they have the most relations to what is shown.
    for cell, users in sorted(small, key=lambda each: len(each[0]))[:most]:
        _try_to_recover(analyst, figures, cell, users)
    return figures


def _try_to_recover(analyst: Analyst, figures: Recovered, cell: Cell, users: int) -> None:
    figures.hidden += 1
    figures.of_one_person += users == 1
    values = dict(cell)
    context = values.pop("event_type", None), values.pop("route", None)
    events = analyst.events.bounds(cell)
    people = analyst.people[context].bounds(frozenset(values.items()))
    if events[0] == events[1] or people[0] == people[1]:
        figures.exactly += 1
        figures.one_person_exactly += users == 1
        figures.examples.append(
            f"{sorted(cell)}: {events} events, {people} people, in truth {users} people"
        )
    elif any(most is not None and most < FIVE for _, most in (events, people)):
        figures.under_five += 1


def _kind(cell: Cell) -> str:
    values = dict(cell)
    splits = len(values.keys() & set(SPLITS))
    if splits > 1:
        return "by several of route, device, browser and system"
    if " " in values["day"] or not {"app_name", "event_type"} <= values.keys():
        return "over several days, apps or types"
    return "of one day, app and type" + (", by one more" if splits else "")


def attack(
    seed: int,
    days: Sequence[date],
    most: int,
    database: Database,
    settings: Settings,
    models: Models,
    engine: Engine,
    people: tuple[int, int] = (6, 40),
) -> Recovered:
    """Run one world from its first click to what the analyst recovered."""
    clicks = make_world(seed, days, people)
    store(clicks, database, settings, models, engine)
    with ThreadPoolExecutor(1) as readers:
        tries = Analyst(clicks, ask_as(database, models, readers), seed)
        tries.ask_everything()
        return solve(tries, most)
