"""How far the figures of a page can be trusted: which label holds on which days, and for what.

Pure. The labels are those of every other report, except that a day that has no build or cannot be
known has only the label `unknown`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from signal_pipeline.reports.page.split import LEFT_OUT, Split
from signal_pipeline.reports.page.words import STATES

_PLURALS = {
    "app": "features",
    "route": "routes",
    "device": "devices",
    "browser": "browsers",
    "os": "systems",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Consecutive UTC days, inclusive, on which a label holds for some apps and figures."""

    first: date
    last: date
    label: str
    apps: str
    figures: str


def doubts(splits: Mapping[str, Split]) -> list[Doubt]:
    """Return every label but `fresh` and `left out`, oldest day first.

    Each figure shows `left out` itself.
    """
    found: dict[tuple[str, date], set[tuple[str, str]]] = defaultdict(set)
    for kind, split in splits.items():
        for (day, app), labels in split.labels.items():
            for label in {*labels} - {"fresh", LEFT_OUT}:
                found[label, day].add((app, kind))
    apps = {app for split in splits.values() for _, app in split.labels}
    merged: list[Doubt] = []
    for (label, day), places in sorted(found.items()):
        doubt = Doubt(
            day,
            day,
            label,
            _names_or_all({app for app, _ in places}, apps, "every app"),
            _names_or_all(
                {_PLURALS[kind] for _, kind in places}, set(_PLURALS.values()), "every figure"
            ),
        )
        before = merged[-1] if merged else None
        if before and _follows(before, doubt):
            merged[-1] = Doubt(before.first, day, label, doubt.apps, doubt.figures)
        else:
            merged.append(doubt)
    return sorted(merged, key=lambda doubt: (doubt.first, doubt.label))


def _follows(before: Doubt, after: Doubt) -> bool:
    alike = (before.label, before.apps, before.figures) == (after.label, after.apps, after.figures)
    return alike and after.first - before.last == timedelta(days=1)


def _names_or_all(found: Collection[str], every: Collection[str], all_of_them: str) -> str:
    return all_of_them if found == every else ", ".join(sorted(found))


def legend(shown: Sequence[Doubt]) -> list[tuple[str, str]]:
    """Return the meaning of each state that a page explains; those in `shown` come first."""
    used = {doubt.label for doubt in shown}
    return sorted(STATES.items(), key=lambda entry: entry[0] not in used)
