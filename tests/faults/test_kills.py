"""A short kill test; `make faults` kills two hundred times and more.

Each seed makes other choices; it is in the message.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

from faults.kills import KillTest
from faults.world import World


def test_killed_processes_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    with World.in_folder(tmp_path) as world:
        test = KillTest(world, SystemRandom().randrange(10**6))
        test.prepare()
        tally = test.run(kills=12, seconds=60)
    assert tally.total > 3
    # The first round takes the database away while the API takes events.
    assert tally.kills["api"] > 0
    assert tally.api_events["spooled"] > 0
