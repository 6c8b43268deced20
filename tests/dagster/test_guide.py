"""The data team's guide is complete.

It names every asset, check, sensor and schedule, and its pictures exist.
"""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "docs" / "data-team.md").read_text()
# Checks that the guide names by their pattern: they are made from schema.yml.
PATTERNS = (
    "reconciles_with_",
    "grain_is_unique",
    "_accepted_values",
    "_not_null",
    "_relationships",
)


def named(name: str) -> bool:
    """True if the guide names it."""
    return f"`{name}`" in GUIDE


def test_the_guide_lists_every_asset(defs: dg.Definitions) -> None:
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {name for name in assets if not named(name)} == set()


def test_the_guide_says_what_each_red_check_asks(defs: dg.Definitions) -> None:
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    own = {name for name in checks if not any(pattern in name for pattern in PATTERNS)}
    assert {name for name in own if not named(name)} == set()
    assert len(own) > 8


@pytest.mark.parametrize(
    "name",
    [
        "stale_rollups_sensor",
        "run_failure_sensor",
        "red_checks_sensor",
        "nightly_schedule",
        "checks_schedule",
        "pruning_schedule",
        "usage_report_schedule",
    ],
)
def test_the_guide_names_what_runs_by_itself(defs: dg.Definitions, name: str) -> None:
    assert named(name)
    found = {each.name for each in [*(defs.sensors or []), *(defs.schedules or [])]}
    assert name in found


def test_the_pictures_are_there_and_small() -> None:
    pages = [path.read_text() for path in (PROJECT / "docs").glob("*.md")]
    pictures = re.findall(r"!\[[^]]+\]\((images/[^)]+)\)", "".join(pages))
    assert len(pictures) > 5
    for picture in pictures:
        assert (PROJECT / "docs" / picture).stat().st_size < 150_000
    kept = {f"images/{path.name}" for path in (PROJECT / "docs" / "images").iterdir()}
    assert kept == set(pictures)
