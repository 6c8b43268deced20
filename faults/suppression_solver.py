"""What an analyst can work out from the numbers that were shown, without any code of Signal.

The numbers give linear equations over cells, and this module finds the bounds of a cell. The
unknowns are the cells of the full crossing: how many events (or people) there are with one day,
app, type, route, device, browser and system. A number that was shown is the sum of some unknowns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import ceil, floor

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, vstack

Values = Sequence[str]
# The values of some dimensions; the day can be several days, joined by a space.
Cell = frozenset[tuple[str, str]]
SLACK = 1e-6


@dataclass(slots=True)
class System:
    """What is known about the cells over some dimensions.

    `dimensions` holds every possible value.
    """

    dimensions: Mapping[str, Values]
    sums: dict[Cell, int] = field(default_factory=dict)
    known_to_exist: set[Cell] = field(default_factory=set)
    _masks: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    _matrices: tuple[csr_matrix, np.ndarray, csr_matrix] | None = None

    def __post_init__(self) -> None:
        atoms = list(product(*self.dimensions.values()))
        for position, (name, values) in enumerate(self.dimensions.items()):
            column = np.array([atom[position] for atom in atoms])
            for value in values:
                self._masks[name, value] = column == value

    def mask(self, cell: Cell) -> np.ndarray:
        """Return which unknowns a cell adds up."""
        found = np.ones(len(next(iter(self._masks.values()))), dtype=bool)
        for name, text in cell:
            each = [
                self._masks[name, value] for value in (text.split(" ") if name == "day" else [text])
            ]
            found &= np.logical_or.reduce(each)
        return found

    def bounds(self, cell: Cell) -> tuple[int, int | None]:
        """Return the least and the most that a cell can hold, given all that is known.

        The most is None if it is unbounded. Raises ValueError if the numbers contradict each other.
        """
        if self._matrices is None:
            self._matrices = self._equations()
        equal, right, exists = self._matrices
        wanted = self.mask(cell).astype(float)
        ends = []
        for sign in (1, -1):
            found = linprog(
                sign * wanted,
                A_eq=equal,
                b_eq=right,
                A_ub=-exists if exists.shape[0] else None,
                b_ub=-np.ones(exists.shape[0]) if exists.shape[0] else None,
                method="highs",
            )
            if found.status == 3:  # Unbounded.
                ends.append(None)
            elif found.status == 0:
                ends.append(sign * found.fun)
            else:
                raise ValueError(f"what was shown contradicts itself: {found.message}")
        least, most = ends
        assert least is not None
        return ceil(least - SLACK), None if most is None else floor(most + SLACK)

    def _equations(self) -> tuple[csr_matrix, np.ndarray, csr_matrix]:
        size = len(next(iter(self._masks.values())))
        rows = {
            self.mask(cell).tobytes(): (self.mask(cell), events)
            for cell, events in self.sums.items()
        }
        equal = self._stack([mask for mask, _ in rows.values()], size)
        exists = self._stack([self.mask(cell) for cell in self.known_to_exist], size)
        return equal, np.array([float(events) for _, events in rows.values()]), exists

    @staticmethod
    def _stack(masks: Iterable[np.ndarray], size: int) -> csr_matrix:
        rows = [csr_matrix(mask.astype(float)) for mask in masks]
        return vstack(rows, format="csr") if rows else csr_matrix((0, size))
