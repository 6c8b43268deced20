"""What simulated traffic is made of: the shape of `world.yaml`, and how likely each entry is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
import numpy.typing as npt

from signal_pipeline.texts.strict_yaml import parse_yaml


class Weighted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry, and its weight: how often it occurs, compared with the others of its list."""

    weight: int


class Agent(Weighted, frozen=True):
    """A user agent; `{v}` in its text becomes the browser's version on the day."""

    text: str


class App(Weighted, frozen=True):
    """An app, and the hours of the UTC day around which its sessions start."""

    name: str
    peak_hours: tuple[int, int]


class EventType(Weighted, frozen=True):
    """An event type with the routes it occurs on, separated by spaces, and its entity type."""

    name: str
    routes: str
    entity: str | None = None


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `world.yaml`."""

    agents: list[Agent]
    bots: list[Agent]
    apps: list[App]
    event_types: list[EventType]
    languages: list[str]


@cache
def read_world() -> World:
    """Return what is in `world.yaml`."""
    text = (files(__package__) / "world.yaml").read_text(encoding="utf-8")
    return parse_yaml(text).read(World, where="world.yaml")


def shares_of(entries: Sequence[Weighted]) -> npt.NDArray[np.float64]:
    """Return the probability of each entry; they add up to 1."""
    weights = np.array([entry.weight for entry in entries], dtype=np.float64)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares
