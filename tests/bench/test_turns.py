"""Two builds are asked in turn, and one that fails does not stop the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.against.builds import Build
from bench.against.comparison import Figure, Reading, Row
from bench.against.gateway import Gateway
from bench.against.turns import Scale, Turn, ask_in_turn

REVISION, THIS = (
    Build(side, side, Path(side), Path(side) / "bin" / "python") for side in ("revision", "this")
)


@pytest.fixture
def scale(tmp_path: Path) -> Scale:
    return Scale(tmp_path, Gateway(tmp_path), events=1, days=1, rounds=3)


def asked(scale: Scale, work: Callable[[str, int], None]) -> list[Row]:
    """Ask both builds one question; `work` is called with the build's side and the round."""

    @contextmanager
    def measure(_: Scale, build: Build) -> Iterator[Turn]:
        work(build.side, -1)  # Its preparation.

        def turn(number: int) -> list[Reading]:
            work(build.side, number)
            return [Reading("report", {"wall": Figure(1.0 + number)})]

        yield turn

    return ask_in_turn("start", measure, scale, REVISION, THIS)


def test_the_builds_take_turns(scale: Scale) -> None:
    calls: list[tuple[str, int]] = []
    (row,) = asked(scale, lambda side, number: calls.append((side, number)))
    assert calls == [(side, number) for number in (-1, 0, 1, 2) for side in ("revision", "this")]
    assert row.figures[0].revision == row.figures[0].this == [1.0, 2.0, 3.0]
    assert not row.failures


@pytest.mark.parametrize("broken", ["revision", "this"])
@pytest.mark.parametrize("at", [-1, 0, 1, 2])
def test_a_build_that_fails_is_not_asked_again_and_the_other_goes_on(
    scale: Scale, broken: str, at: int
) -> None:
    calls: list[tuple[str, int]] = []

    def work(side: str, number: int) -> None:
        calls.append((side, number))
        if (side, number) == (broken, at):
            raise RuntimeError("no such\ncommand: serve")

    (row,) = asked(scale, work)
    assert row.failures == {broken: "failed: RuntimeError: no such command: serve"}
    whole = {"revision": row.figures[0].revision, "this": row.figures[0].this}
    assert whole.pop(broken) == [1.0 + number for number in range(at)]
    assert whole.popitem()[1] == [1.0, 2.0, 3.0]
    assert max(number for side, number in calls if side == broken) == at


def test_a_measure_that_both_builds_fail_is_a_row_too(scale: Scale) -> None:
    def work(side: str, _: int) -> None:
        raise OSError(f"{side} cannot")

    (row,) = asked(scale, work)
    assert (row.what, row.figures) == ("start", ())
    assert row.failures == {
        side: f"failed: OSError: {side} cannot" for side in ("revision", "this")
    }


def test_lines_of_many_days_are_made_once_and_end_when_they_should(scale: Scale) -> None:
    file = scale.lines(2, 100, before=3)
    text = file.read_text()
    assert 100 < text.count("\n") < 400
    file.write_text("kept")
    assert scale.lines(2, 100, before=3).read_text() == "kept"
    assert scale.lines(2, 100, before=4).read_text() != text
