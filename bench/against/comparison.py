"""Figures of two builds side by side: medians, ratios, and how far the ratio varies by round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Units of time: the least seconds that are shown in the unit, how many make a second, the name.
_TIMES = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs"))


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a build showed in one round, in `unit`; less is better.

    `ratio_target` bounds this tree's median divided by the other revision's. `target` bounds this
    tree's median by itself.
    """

    value: float
    unit: str = "s"
    ratio_target: float | None = None
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one build showed in one round: a row of the table, and its figures by name."""

    what: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure: its values by round, for both builds."""

    name: str
    sample: Figure
    revision: Sequence[float]
    this: Sequence[float]

    @property
    def ratio(self) -> float | None:
        """This tree's median divided by the revision's; None if it is not known."""
        if not self.this or not self.revision:
            return None
        return _divide(statistics.median(self.this), statistics.median(self.revision))

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the greatest ratio of one round; None if no round has one."""
        ratios = [
            ratio
            for this, revision in zip(self.this, self.revision, strict=False)
            if (ratio := _divide(this, revision)) is not None
        ]
        return (min(ratios), max(ratios)) if ratios else None

    @property
    def met(self) -> bool | None:
        """Whether every target of this figure is met; None without a target or a result."""
        median = statistics.median(self.this) if self.this else None
        pairs = [(self.ratio, self.sample.ratio_target), (median, self.sample.target)]
        wanted = [(value, bound) for value, bound in pairs if bound is not None]
        if not wanted or any(value is None for value, _ in wanted):
            return None
        return all(value <= bound for value, bound in wanted if value is not None)

    @property
    def wanted(self) -> str:
        """The targets as text."""
        bounds = []
        if self.sample.ratio_target is not None:
            bounds.append(f"{self.name} ≤ {self.sample.ratio_target:g}×")
        if self.sample.target is not None:
            bounds.append(f"{self.name} ≤ {amount(self.sample.target, self.sample.unit)}")
        return ", ".join(bounds)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `failures` says, by the side of a build, why that build failed."""

    what: str
    figures: Sequence[Compared] = ()
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None if there is none, or if one is in doubt."""
        each = [figure.met for figure in self.figures if figure.wanted]
        if False in each:
            return False
        return True if each and None not in each else None

    def as_dict(self) -> Mapping[str, object]:
        """Return the object for `against.json`."""
        return {
            "what": self.what,
            "figures": {
                each.name: {
                    "unit": each.sample.unit,
                    "revision": each.revision,
                    "this": each.this,
                    "ratio": each.ratio,
                    "spread": each.spread,
                    "ratio_target": each.sample.ratio_target,
                    "target": each.sample.target,
                    "met": each.met,
                }
                for each in self.figures
            },
            "failures": dict(self.failures),
        }


def compare(
    revision: Sequence[Sequence[Reading]],
    this: Sequence[Sequence[Reading]],
    failures: Mapping[str, str],
) -> list[Row]:
    """Return the rows of one measure, given the readings of each round.

    A figure that only one build has is kept, without a ratio.
    """
    samples: dict[tuple[str, str], Figure] = {}
    values: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for side, rounds in enumerate((revision, this)):
        for reading in (reading for readings in rounds for reading in readings):
            for name, figure in reading.figures.items():
                key = (reading.what, name)
                samples.setdefault(key, figure)
                values.setdefault(key, ([], []))[side].append(figure.value)
    rows: dict[str, list[Compared]] = {}
    for (what, name), (theirs, ours) in values.items():
        compared = Compared(name, samples[what, name], theirs, ours)
        rows.setdefault(what, []).append(compared)
    return [Row(what, figures, failures) for what, figures in rows.items()]


def markdown(rows: Sequence[Row], revision: str) -> str:
    """Return the table as the documentation shows it."""
    lines = [
        f"| what | {revision} | this tree | ratio | ratio by round | target | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = [
            row.what,
            _medians([(each, each.revision) for each in row.figures], row.failures.get("revision")),
            _medians([(each, each.this) for each in row.figures], row.failures.get("this")),
            _joined(row.figures, [_ratio(each.ratio) for each in row.figures]),
            _joined(row.figures, [_spread(each.spread) for each in row.figures]),
            ", ".join(each.wanted for each in row.figures if each.wanted),
            _verdict(row),
        ]
        shown = [cell.replace("|", r"\|") for cell in cells]  # A failure's text can have anything.
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def amount(value: float, unit: str) -> str:
    """Return a number with its unit; seconds are shown in the unit that suits them."""
    if unit != "s":
        return f"{value:,.1f} {unit}" if abs(value) < 100 else f"{value:,.0f} {unit}"
    factor, name = next((factor, name) for least, factor, name in _TIMES if abs(value) >= least)
    return f"{value * factor:,.3g} {name}"


def _divide(this: float, revision: float) -> float | None:
    return this / revision if revision > 0 else None


def _medians(figures: Sequence[tuple[Compared, Sequence[float]]], failure: str | None) -> str:
    shown = [
        f"{each.name} {amount(statistics.median(values), each.sample.unit)}"
        for each, values in figures
        if values
    ]
    # A build that failed in a later round has figures of the rounds before.
    return "; ".join([*([", ".join(shown)] if shown else []), *([failure] if failure else [])])


def _joined(figures: Sequence[Compared], texts: Sequence[str]) -> str:
    return ", ".join(
        f"{each.name} {text}" for each, text in zip(figures, texts, strict=True) if text
    )


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _spread(spread: tuple[float, float] | None) -> str:
    return "" if spread is None else f"{spread[0]:.2f} to {spread[1]:.2f}"


def _verdict(row: Row) -> str:
    if not any(each.wanted for each in row.figures):
        return ""
    return {True: "yes", False: "**no**", None: "unknown"}[row.met]
