"""Nothing private is at rest; `make faults` also runs Dagster's UI and daemon."""

from __future__ import annotations

from pathlib import Path

from faults.leaks import LeakTest


def test_no_private_value_is_ever_at_rest(tmp_path: Path) -> None:
    test = LeakTest(tmp_path / "home")
    test.by_command()
    test.by_api()
    assert test.search().endswith("no hit")
