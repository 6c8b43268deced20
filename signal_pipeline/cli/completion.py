"""The words that the shell completes, beyond commands, options and the choices of an enum.

They come from files, never from the database: a key press must not start a server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import typer

from signal_pipeline.errors import SignalError
from signal_pipeline.settings import load_settings

if TYPE_CHECKING:  # The command must start fast.
    from signal_pipeline.catalogue.load import Catalogue


def complete_app(incomplete: str) -> list[str]:
    """Return the apps of the catalogue."""
    return _matching(_values_of("app"), incomplete)


def complete_event_type(incomplete: str) -> list[str]:
    """Return the event types of the catalogue."""
    return _matching(_values_of("event-type"), incomplete)


def complete_rollup(incomplete: str) -> list[str]:
    """Return the names of the rollups."""
    return _matching(_rollups(), incomplete)


def complete_rollup_kind(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what a report calls the rollups; nothing beside `--group-by`, which replaces them."""
    from signal_pipeline.reports.dimensions import rollup_kinds

    if ctx.params.get("group_by") is not None:
        return []
    return _matching(rollup_kinds(_rollups()), incomplete)


def complete_keys(incomplete: str) -> list[str]:
    """Return lists of keys: what is typed up to the last comma, and then each key that fits."""
    from signal_pipeline.reports.dimensions import KEYS

    before, comma, last = incomplete.rpartition(",")
    used = before.split(",")
    return [f"{before}{comma}{key}" for key in KEYS if key.startswith(last) and key not in used]


def complete_filter(incomplete: str) -> list[str]:
    """Return `KEY=` for each key, and `KEY=VALUE` for the values of closed lists.

    A value with a blank is left out, because not every shell quotes what it completes.
    """
    from signal_pipeline.reports.dimensions import KEYS

    name, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{key}=" for key in KEYS if key.startswith(incomplete)]
    pairs = (f"{name}={value}" for value in _values_of(name) if " " not in value)
    return _matching(pairs, incomplete)


def _values_of(name: str) -> Collection[str]:
    from signal_pipeline.reports.dimensions import KEYS

    key, catalogue = KEYS.get(name), _catalogue()
    if key is None or key.values is None or catalogue is None:
        return ()
    return key.values(catalogue)


def _catalogue() -> Catalogue | None:
    """Return the catalogue, or None if a setting or the file is wrong: the command will say so."""
    from signal_pipeline.catalogue.load import load_catalogue

    try:
        return load_catalogue(load_settings().catalogue)
    except SignalError:
        return None


def _rollups() -> Collection[str]:
    from signal_pipeline.rollups.models import load_models

    try:
        return load_models()
    except SignalError:
        return ()


def _matching(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
