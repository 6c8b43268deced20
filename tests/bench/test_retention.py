"""The bench compares a whole purge with its peer's: the events, and the keys that make ids unique."""

from __future__ import annotations

import pytest

from bench.measure import Cost
from bench.retention import Purge, purge_rows


def _day(keys: float, drop: float, peer: float) -> Purge:
    costs = (Cost(seconds, 0.0, seconds) for seconds in (keys, drop, peer))
    return Purge(*costs, (keys * 1e6, drop * 1e6, peer * 1e6))


def test_the_ratio_of_a_purge_has_its_keys() -> None:
    rows = purge_rows(1_000, [_day(0.4, 0.1, 4.0)] * 3, [_day(0.05, 0.05, 3.0)] * 3)
    compared = {row.what.partition(": ")[2]: row for row in rows}
    by_time = compared["the events and their keys, by time"]
    assert by_time.ratio == pytest.approx(8)
    assert by_time.met is False
    cached = compared["the same, all files still in the system's cache"]
    assert cached.ratio == pytest.approx(30)
    assert cached.met
    by_wal = compared["the events and their keys, by WAL written"]
    assert by_wal.ratio == pytest.approx(8)
    assert by_wal.met is False
    shares = [row for row in rows if "of this" in row.what]
    assert [row.ratio for row in shares] == [None, None]
