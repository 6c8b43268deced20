"""Nothing private at rest. `make faults` does the same with Dagster's UI and daemon running too."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.leaks import LeakTest

pytestmark = pytest.mark.timeout(600)


def test_no_private_value_is_ever_at_rest(tmp_path: Path) -> None:
    test = LeakTest(tmp_path / "home")
    test.by_command()
    test.by_api()
    assert test.search().endswith("no hit")
