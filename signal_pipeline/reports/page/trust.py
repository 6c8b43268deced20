"""How far the figures of a page can be trusted: which label holds on which days, and for what.

Pure. The labels are those of every other report, with one exception: a day that has no build or
cannot be known has only the label `unknown`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from signal_pipeline.days.coverage import spans_of
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
    found: dict[tuple[str, date], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for kind, split in splits.items():
        for (day, app), labels in split.labels.items():
            for label in {*labels} - {"fresh", LEFT_OUT}:
                found[label, day][app].add(_PLURALS[kind])
    every_app = {app for split in splits.values() for _, app in split.labels}
    every_figure = {_PLURALS[kind] for kind in splits}
    days: dict[tuple[str, str, str], list[date]] = defaultdict(list)
    for (label, day), figures_of in sorted(found.items()):
        apps_of: dict[frozenset[str], set[str]] = defaultdict(set)
        for app, figures in figures_of.items():
            apps_of[frozenset(figures)].add(app)
        for alike, apps in apps_of.items():
            names = _names_or_all(apps, every_app, "every app")
            days[label, names, _names_or_all(alike, every_figure, "every figure")].append(day)
    merged = [
        Doubt(first, last, label, apps, figures)
        for (label, apps, figures), each in days.items()
        for first, last in spans_of(each)
    ]
    return sorted(merged, key=lambda doubt: (doubt.first, doubt.label, doubt.apps))


def _names_or_all(found: Collection[str], every: Collection[str], all_of_them: str) -> str:
    return all_of_them if found == every else ", ".join(sorted(found))


def legend(shown: Sequence[Doubt]) -> list[tuple[str, str]]:
    """Return the meaning of each state that a page explains; those in `shown` come first."""
    used = {doubt.label for doubt in shown}
    return sorted(STATES.items(), key=lambda entry: entry[0] not in used)
