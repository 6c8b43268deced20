"""The long walk of the false clock, cut short: it walks, compares and measures.

The long one is `python -m faults year`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import false_clock
from faults.year import year
from faults.year_sizes import Sizes, growing


@pytest.mark.skipif(
    false_clock.library() is None, reason=f"{false_clock.MISSING}: no false clock walked"
)
def test_two_days_by_a_false_clock_are_as_the_oracle_says(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    figures = year(tmp_path, days=2, keep=7, seed=1)
    assert "nightly_job: 2" in figures
    assert "rotations: 1" in figures


def _sizes(days: int, raw: int) -> Sizes:
    return Sizes(
        days, signal=0, dagster=0, raw=raw, home=0, postgres=0, events=100, receipts=0, seconds=0
    )


def test_what_grows_after_the_retention_has_set_in_is_named() -> None:
    steady = [_sizes(days, 50 * 2**20) for days in range(5, 100, 5)]
    assert growing(steady, since=30) == {}
    grown = [_sizes(days, days * 2**20) for days in range(5, 100, 5)]
    assert list(growing(grown, since=30)) == ["raw"]
