"""Coordinates: found as text and as numbers, in either order."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from signal_pipeline.events.pii import holds_pii


@given(st.floats(-90, 90), st.floats(-180, 180), st.sampled_from([", ", ",", ";"]))
def test_every_place_is_found_in_either_order(
    latitude: float, longitude: float, between: str
) -> None:
    assume(max(abs(latitude), abs(longitude)) > 1.1)
    here, there = f"{latitude:.5f}", f"{longitude:.5f}"
    for pair in ((here, there), (there, here)):
        assert holds_pii(f"at {between.join(pair)} now")
        assert not holds_pii(f"[{between.join((*pair, '1.25'))}]")


def test_coordinates_as_numbers_are_found() -> None:
    for position in (
        [52.520008, 13.404954],
        [-151.2093, -33.8688],
        [13.404954, 52.520008, 35.12345],
        [13.404954, 52.520008, 34],  # With an altitude, as in GeoJSON.
        [13.404954, 52.520008, 34.0],
    ):
        assert holds_pii({"a": position})
        assert holds_pii({"a": [{"b": [position, position]}]})
    for numbers in (
        [52, 13],
        [52.52, 13.4],
        [52.520008, 13],
        [34, 13.404954, 52.520008],
        [13.404954, 52.520008, None],
        [0.52001, 0.13002],
        [200.12345, 13.12345],
        [52.520008],
    ):
        assert not holds_pii({"a": numbers})
    assert not holds_pii({"a": [float("nan"), float("inf")]})


@pytest.mark.parametrize(
    "text", ["translate(12.5000, 13.5000) at 48.2082, 16.3738", "I'm 48.2082, 16.3738"]
)
def test_a_drawing_hides_no_place(text: str) -> None:
    assert holds_pii(text)
