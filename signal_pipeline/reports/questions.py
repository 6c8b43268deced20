"""A question that names its own keys, checked and ready to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from signal_pipeline.days.calendar import check_window, day_from_text
from signal_pipeline.events.ids import former_spelling, stored_spelling
from signal_pipeline.reports.dimensions import KEYS, Key, find_keys, values_by_key
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.rollups.schema_yml import ALL_TYPES


@dataclass(frozen=True, slots=True)
class Question:
    """What is counted, and by which keys.

    `where` holds filters by the names of keys. A filter by day is not among them: it has narrowed
    `first` and `last` instead. `asked_for_one_day` is true if the window was a single day even
    without that filter.
    """

    keys: Sequence[Key]
    where: Mapping[str, str]
    first: date
    last: date
    asked_for_one_day: bool

    @property
    def by_day(self) -> bool:
        """True if the users and sessions of a row are those of one day.

        A filter by day does not count for this.
        """
        return self.asked_for_one_day or KEYS["day"] in self.keys

    @property
    def dimensions(self) -> set[str]:
        """The columns that the question groups by or filters."""
        return {key.column for key in (*self.keys, *(KEYS[name] for name in self.where))}

    @property
    def by_former_id(self) -> Question | None:
        """The same question by the id under which earlier versions stored the entity.

        It is None if the question has no filter by entity, or if the id is the same.
        """
        former = former_spelling(self.where.get("entity", ""))
        if former is None:
            return None
        return replace(self, where={**self.where, "entity": former})


def parse_question(
    keys: Sequence[str],
    where: Mapping[str, str],
    first: date,
    last: date,
    *,
    hide_small: bool = False,
) -> Question:
    """Check a question and return it; raises QuestionError and WindowError.

    `keys` and `where` take names and columns, as `find_keys` does. `hide_small` refuses keys of
    entities, where nearly every cell is small.
    """
    check_window(first, last)
    if not keys:
        raise QuestionError("name at least one key to count by")
    found, filters = find_keys(keys), values_by_key(list(where.items()))
    refuse_total(filters)
    asked_for_one_day = first == last
    if (text := filters.pop("day", None)) is not None:
        first, last = (_day_within(text, first, last),) * 2
    if hide_small and any(key.kind == "entity" for key in (*found, *(KEYS[k] for k in filters))):
        raise QuestionError("small cells by entity cannot be left out: nearly every row is one")
    if "entity" in filters:
        filters["entity"] = stored_spelling(filters["entity"])
    return Question(found, filters, first, last, asked_for_one_day)


def refuse_total(filters: Mapping[str, str]) -> None:
    """Raise QuestionError for a filter by the event type `(all)`; `filters` is by names of keys.

    No event has this type: an answer from raw events would be empty, and an answer from a rollup
    would be the total.
    """
    if filters.get("event-type") == ALL_TYPES:
        raise QuestionError(
            f"no event-type {ALL_TYPES!r}: it marks a rollup's rows over all event types; to count"
            " events of all types, leave this filter out"
        )


def _day_within(text: str, first: date, last: date) -> date:
    try:
        day = day_from_text(text)
    except ValueError:
        raise QuestionError(f"no day {text!r}: write YYYY-MM-DD") from None
    if not first <= day <= last:
        raise QuestionError(f"the day {day} lies outside the window, {first} to {last}")
    return day
