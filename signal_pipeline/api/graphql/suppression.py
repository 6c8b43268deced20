"""Small cells: which rows of an answer are left out below admin (requirement 6.6). Pure.

A row is left out if its largest day has under five users. Events add up from types to their `(all)` row, so one hidden type
row could be got back by subtraction: with any row of a group, the group's total is left out too, also where it is asked for
alone. Then nothing in any answer of these keys depends on the hidden numbers. Why not hide a second type instead:
docs/decisions.md; what can still be compared: docs/api.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

MIN_USERS = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """What suppression looks at of a row: what it shares with its total, whether it is the total, and its peak users."""

    group: Hashable
    is_total: bool
    peak_users: int


def kept(cells: Sequence[Cell], parts: Sequence[Cell] = ()) -> list[bool]:
    """For each row of one answer, whether it may be shown; `parts` are the rows by type that the answer left out."""
    revealing = {cell.group for cell in (*cells, *parts) if not cell.is_total and cell.peak_users < MIN_USERS}
    return [cell.peak_users >= MIN_USERS and not (cell.is_total and cell.group in revealing) for cell in cells]
