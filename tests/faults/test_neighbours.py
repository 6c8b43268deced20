"""A short test beside another team.

In `make faults` two hundred runs end, and the neighbour's runs take 90 seconds.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from faults.neighbours import neighbours
from faults.world import World

pytestmark = pytest.mark.timeout(900)


def test_what_lives_is_never_ended_and_what_is_dead_soon_is(tmp_path: Path) -> None:
    with World.in_folder(tmp_path) as world:
        figures = neighbours(
            world, races=6, seconds=40, kills=1, seed=SystemRandom().randrange(10**6)
        )
    assert figures.runs == {"launched": 5, "of a command": 1}
    assert figures.looks > 20
    assert len(figures.ended_after) == 1
