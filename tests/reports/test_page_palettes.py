"""The colours of the usage page: text and charts stand out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _palettes() -> Iterator[dict[str, str]]:
    css = Path(__file__).parents[2] / "signal_pipeline/reports/page/templates/page.css"
    for block in re.findall(r":root \{([^}]*)\}", css.read_text()):
        yield dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


def test_text_and_charts_stand_out_in_every_palette() -> None:
    """Charts too, which checkers of pages do not look into."""
    palettes = list(_palettes())
    assert len(palettes) == 3 and all(a.keys() == b.keys() for a, b in pairwise(palettes))
    for palette in palettes:
        for ink in ("ink", "muted", "link", "warn"):
            for ground in ("paper", "card"):
                assert _contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
        assert _contrast(palette["ink"], palette["warn-bg"]) >= 4.5
        assert _contrast(palette["bar"], palette["paper"]) >= 3
