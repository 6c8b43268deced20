"""User agents that people have labelled; no part of Signal, nor a parser that it uses, made a label."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import pytest

LABELLED = Path(__file__).parents[2] / "shared" / "data" / "user_agents.tsv.gz"
needs_labels = pytest.mark.skipif(not LABELLED.exists(), reason="the labelled user agents are not here")


class Labelled(NamedTuple):
    """`kind` is person, old (people's older and odd shapes) or bot; `device` is empty where nobody said."""

    kind: str
    device: str
    source: str
    text: str


def labelled_user_agents() -> list[Labelled]:
    """All of them."""
    with gzip.open(LABELLED, "rt", encoding="utf-8", newline="") as lines:
        next(lines)
        return [Labelled(*line.rstrip("\n").split("\t", 3)) for line in lines]
