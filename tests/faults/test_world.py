"""The long tests work on a world of their own, whatever the settings of who runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from faults import actions, world

PROJECT = Path(__file__).parents[2]
PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from faults import actions, oracle
from faults.hostile_ways import by_file
from faults.world import World

world, now = World(Path(sys.argv[1])), datetime.now(UTC)
world.finish(actions.migrate_all)
world.land("one", oracle.encode(oracle.lines_of(now.date(), oracle.OF_LANDING, 5, Random(1))))
world.finish(actions.drain, now)
print(by_file(world, 20, seed=1).total() > 20, list(Path(sys.argv[1], "landing").glob("*.ndjson")))
"""


class Clock:
    """Stands for `datetime` where only `sleep` lets time pass."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self, year: int, month: int, day: int, tzinfo: tzinfo) -> datetime:
        return datetime(year, month, day, tzinfo=tzinfo)

    def now(self, zone: tzinfo) -> datetime:
        return self.at.astimezone(zone)

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the settings of a developer in its `.env`."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    lines = (
        f"SIGNAL_LANDING_DIR={folder / 'landing'}",
        "SIGNAL_DATABASE_URL=postgresql://nobody@127.0.0.1:1/of_the_developer",
    )
    (folder / ".env").write_text("\n".join(lines))
    (folder / ".env").chmod(0o600)
    return folder


def test_a_run_that_would_cross_midnight_begins_on_the_next_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(datetime(2026, 11, 28, 23, 58, tzinfo=UTC))
    monkeypatch.setattr(world, "datetime", clock)
    monkeypatch.setattr(world.time, "sleep", clock.sleep)
    assert world.wait_for_midnight(60) == date(2026, 11, 28)
    assert clock.at.minute == 58
    assert world.wait_for_midnight(600) == date(2026, 11, 29)
    assert clock.at.minute == 0


def test_an_action_that_fails_at_once_is_named(tmp_path: Path) -> None:
    with world.World.in_folder(tmp_path) as nowhere:
        nowhere.set("SIGNAL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
        with pytest.raises(world.StuckError, match="migrate_all failed with exit code 1"):
            nowhere.finish(actions.migrate_all)


@pytest.mark.embedded_only
def test_no_setting_of_the_checkout_reaches_an_action(checkout: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["True []"], done.stderr
    assert not (checkout / "landing").exists()
