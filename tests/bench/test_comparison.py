"""Figures of two builds side by side: medians, ratios by round, targets, the table."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.against.comparison import Figure, Reading, Row, compare, markdown

SECONDS = st.floats(1e-6, 1e4)


def rounds(*values: float, **options: float) -> list[list[Reading]]:
    """The readings of one build, a round per value."""
    return [[Reading("report", {"wall": Figure(value, **options)})] for value in values]


def only_row(
    revision: list[list[Reading]],
    this: list[list[Reading]],
    failures: Mapping[str, str] | None = None,
) -> Row:
    (row,) = compare(revision, this, failures or {})
    return row


def test_the_ratio_is_that_of_the_medians_and_the_spread_that_of_the_rounds() -> None:
    (figure,) = only_row(rounds(10, 20, 60), rounds(5, 4, 9)).figures
    assert figure.ratio == 5 / 20
    assert figure.spread == (9 / 60, 5 / 10)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9))
def test_the_ratio_lies_between_the_extremes_of_the_builds(
    pairs: list[tuple[float, float]],
) -> None:
    theirs, ours = zip(*pairs, strict=True)
    (figure,) = only_row(rounds(*theirs), rounds(*ours)).figures
    assert figure.ratio == pytest.approx(median(ours) / median(theirs))
    assert figure.spread is not None
    least, most = figure.spread
    assert min(ours) / max(theirs) <= least <= most <= max(ours) / min(theirs)


@given(st.lists(SECONDS, min_size=1, max_size=9), st.floats(0.01, 100))
def test_a_build_that_is_slower_by_a_factor_has_that_ratio_in_each_round(
    theirs: list[float], factor: float
) -> None:
    (figure,) = only_row(rounds(*theirs), rounds(*(factor * each for each in theirs))).figures
    assert (figure.ratio, *(figure.spread or ())) == pytest.approx((factor, factor, factor))


@pytest.mark.parametrize(
    ("options", "met"),
    [
        ({"ratio_target": 0.5}, True),
        ({"ratio_target": 0.49}, False),
        ({"target": 2.0}, True),
        ({"target": 1.9}, False),
        ({"ratio_target": 0.5, "target": 1.9}, False),
        ({}, None),
    ],
)
def test_a_target_bounds_the_ratio_or_the_figure_itself(
    options: dict[str, float], met: bool | None
) -> None:
    assert only_row(rounds(4, **options), rounds(2, **options)).met is met


def test_a_row_is_met_only_if_all_its_figures_are() -> None:
    def reading(wall: float, cpu: float) -> list[list[Reading]]:
        figures = {"wall": Figure(wall, ratio_target=0.5), "CPU": Figure(cpu, ratio_target=0.5)}
        return [[Reading("report", figures)]]

    assert only_row(reading(4, 4), reading(1, 1)).met is True
    assert only_row(reading(4, 4), reading(1, 3)).met is False
    # The revision's CPU is too little for the clock, so its ratio is unknown.
    assert only_row(reading(4, 0), reading(1, 1)).met is None


def test_what_one_build_alone_has_keeps_its_figures_and_has_no_ratio() -> None:
    row = only_row([], rounds(2, 4, ratio_target=0.5), {"revision": "failed: a|b"})
    assert row.figures[0].ratio is row.figures[0].spread is row.met is None
    line = markdown([row], "4831be5").splitlines()[-1]
    assert line == (r"| report | failed: a\|b | wall 3 s |  |  | wall ≤ 0.5× | unknown |")


def test_a_build_that_fails_later_shows_its_figures_and_its_failure() -> None:
    row = only_row(rounds(2, 2), rounds(1), {"this": "failed: OSError: disk full"})
    assert markdown([row], "4831be5").splitlines()[-1] == (
        "| report | wall 2 s | wall 1 s; failed: OSError: disk full | wall 0.50 |"
        " wall 0.50 to 0.50 |  |  |"
    )


def test_the_table_shows_each_figure_in_its_unit() -> None:
    def build(scale: float) -> list[list[Reading]]:
        figures = {
            "wall": Figure(2.5 * scale, ratio_target=0.35),
            "CPU": Figure(0.0025 * scale),
            "each": Figure(0.0000025 * scale),
            "peak": Figure(1234 * scale, "MiB", target=1000),
        }
        return [[Reading("report", figures)]]

    table = markdown(compare(build(1), build(0.5), {}), "4831be5")
    assert table.splitlines() == [
        "| what | 4831be5 | this tree | ratio | ratio by round | target | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| report | wall 2.5 s, CPU 2.5 ms, each 2.5 µs, peak 1,234 MiB"
        " | wall 1.25 s, CPU 1.25 ms, each 1.25 µs, peak 617 MiB"
        " | wall 0.50, CPU 0.50, each 0.50, peak 0.50"
        " | wall 0.50 to 0.50, CPU 0.50 to 0.50, each 0.50 to 0.50, peak 0.50 to 0.50"
        " | wall ≤ 0.35×, peak ≤ 1,000 MiB | **no** |",
    ]
