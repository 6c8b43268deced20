"""A short kill test: `make faults` kills two hundred times and more. Each seed makes other choices; it is in the message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

import pytest

from faults.kills import KillTest
from faults.world import World

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home of its own; the environment is put back."""
    before = dict(os.environ)
    yield World(tmp_path)
    os.environ.clear()
    os.environ.update(before)


def test_killed_processes_lose_nothing_and_leave_nothing(world: World) -> None:
    test = KillTest(world, SystemRandom().randrange(10**6))
    test.prepare()
    tally = test.run(kills=12, seconds=60)
    assert tally.total > 3
