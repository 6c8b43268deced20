"""Ordinary descriptions are not dropped for personal data that they do not contain.

Less than one in a thousand is.
"""

from __future__ import annotations

from random import Random

from faults.descriptions import KEYS, KINDS, RARE, mixed, report, simulated
from signal_pipeline.events.pii import holds_pii


def test_ordinary_descriptions_pass() -> None:
    random = Random(20261128)
    made = [mixed(random) for _ in range(20_000)]
    assert len({repr(each) for each in made}) > 19_000
    assert sum(map(holds_pii, made)) < 20


def test_ordinary_keys_and_the_values_of_simulated_traffic_pass() -> None:
    assert [key for key in KEYS if holds_pii({key: None})] == []
    descriptions = simulated(5_000, seed=7)
    assert len(descriptions) > 400
    assert [each for each in descriptions if holds_pii(each)] == []


def test_the_table_says_how_many_were_dropped() -> None:
    rows = report(200, seed=7)
    assert len(rows) == 2 + len(KINDS) + 3
    assert {
        name for name in KINDS if f"| {name} | 200 | 0 (0.000 %) |" in rows
    } >= KINDS.keys() - RARE
