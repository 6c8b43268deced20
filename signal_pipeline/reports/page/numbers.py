"""How a page writes numbers and dates, with thin spaces between thousands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from signal_pipeline.reports.page.split import Count, People, people_bounds

THIN_SPACE = "\u202f"  # Narrow, and never broken at the end of a line.
DASH = "–"


def number(value: float) -> str:
    """Return a number with thin spaces between thousands; a median can end in a half."""
    text = f"{value:,.1f}".removesuffix(".0")
    return text.replace(",", THIN_SPACE)


def events(count: Count) -> str:
    """Return a sum of events, with ≥ before it if the true sum can be larger."""
    return f"≥{THIN_SPACE}{number(count.events)}" if count.is_lower_bound else number(count.events)


def optional(value: float | None) -> str:
    """Return a number, or a dash where there is none."""
    return DASH if value is None else number(value)


def days(count: int) -> str:
    """Return a number of days in words."""
    return f"{number(count)} day" if count == 1 else f"{number(count)} days"


def doubts(found: Mapping[str, int], window_days: int) -> str:
    """Return the labels that count against a figure, else `exact`.

    If the window has several days, each label says on how many of them it holds.
    """
    if not found:
        return "exact"
    return "; ".join(
        f"{label} on {days(count)}" if window_days > 1 else label for label, count in found.items()
    )


def people(figure: People) -> tuple[str, str]:
    """Return the median and the highest number of people a day."""
    return optional(figure.median), optional(figure.most)


def bounded_people(figure: People, found: Mapping[str, int]) -> tuple[str, str]:
    """Return the median and the most people a day, each after its bound, such as `at least`.

    `found` holds the labels that count against these numbers.
    """
    median, most = people_bounds(found.keys())
    return _bounded(median, figure.median), _bounded(most, figure.most)


def _bounded(bound: str, value: float | None) -> str:
    return DASH if value is None else f"{bound} {number(value)}".strip()


def long_date(day: date) -> str:
    """Return a date in words."""
    return f"{day:%A}, {day.day} {day:%B %Y}"
