"""A patient analyst over a few small worlds.

`python -m faults suppression` takes more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from random import SystemRandom
from typing import Any

import pytest
from support.days import today

from faults.suppression import solve
from faults.suppression_questions import Analyst, ask_as
from faults.suppression_solver import System
from faults.suppression_world import make_world, store
from signal_pipeline.api.graphql.types import EventStats
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

MONDAY = today() - timedelta(days=today().weekday() + 7)
DAYS = [MONDAY, MONDAY + timedelta(days=1)]


@pytest.mark.parametrize("people", [(3, 14), (20, 90)])
def test_nothing_that_is_left_out_can_be_worked_out(
    database: Database, settings: Settings, models: Models, people: tuple[int, int]
) -> None:
    seed = SystemRandom().randrange(10**6)
    clicks = make_world(seed, DAYS, people)
    store(clicks, database, settings, models, open_engine(settings, database))
    with ThreadPoolExecutor(1) as readers:
        tries = Analyst(clicks, ask_as(database, models, readers), seed)
        tries.ask_everything(filtered=40, crossings=20)
    # Figures that are shown are exact, whatever keys they were asked by.
    assert [
        cell for cell, events in tries.events.sums.items() if events != len(tries.rows_of(cell))
    ] == []
    figures = solve(tries, 60)
    assert (figures.exactly, figures.under_five) == (0, 0), (seed, figures.examples)
    assert figures.hidden == 60


def test_the_analyst_is_not_blind(database: Database, settings: Settings, models: Models) -> None:
    """Here only the small rows themselves are left out.

    The same questions then recover many of them.
    """
    clicks = make_world(7, DAYS, (6, 30))
    store(clicks, database, settings, models, open_engine(settings, database))
    with ThreadPoolExecutor(1) as readers:
        ask = ask_as(database, models, readers, is_admin=True)

        def naive(*arguments: Any, **named: Any) -> EventStats:
            whole = ask(*arguments, **named)
            rows = [row for row in whole.rows if row.summed_daily_users >= 5]
            return EventStats(rows=rows, suppressed_rows=len(whole.rows) - len(rows), notes=[])

        tries = Analyst(clicks, naive, 7)
        tries.ask_everything(filtered=0, crossings=0)
        figures = solve(tries, 30)
    assert figures.exactly > 10
    assert figures.one_person_exactly > 0


def test_bounds_follow_from_sums() -> None:
    def cell(**values: str) -> frozenset[tuple[str, str]]:
        return frozenset(values.items())

    system = System({"day": ["1", "2"], "os": ["a", "b", "c"]})
    system.sums |= {
        cell(day="1"): 10,
        cell(day="1", os="a"): 7,
        cell(day="1 2"): 30,
        cell(day="2", os="c"): 0,
    }
    assert system.bounds(cell(day="1", os="b")) == (0, 3)
    assert system.bounds(cell(day="2")) == (20, 20)
    assert system.bounds(cell(os="c")) == (0, 3)
    system.known_to_exist.add(cell(day="1", os="c"))
    other = System(system.dimensions, system.sums, system.known_to_exist)
    assert other.bounds(cell(day="1", os="b")) == (0, 2)
    assert System({"day": ["1"]}).bounds(cell(day="1")) == (0, None)
