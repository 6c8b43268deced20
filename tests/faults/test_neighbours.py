"""A short test beside another team.

In `make faults` two hundred runs end, and the neighbour's runs take 90 seconds.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from faults import neighbours as beside
from faults.world import World


def test_what_lives_is_never_ended_and_what_is_dead_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How soon a dead run is ended is for `python -m faults neighbours` to measure, on its own.
    monkeypatch.setattr(beside, "ENDED_WITHIN_SECONDS", beside.PATIENCE_SECONDS)
    seed = SystemRandom().randrange(10**6)
    with World.in_folder(tmp_path) as world:
        figures = beside.neighbours(world, races=6, seconds=40, kills=1, seed=seed)
    assert figures.runs == {"launched": 5, "of a command": 1}
    assert figures.looks > 20
    assert len(figures.ended_after) == 1
