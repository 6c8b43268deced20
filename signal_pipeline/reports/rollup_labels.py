"""What must accompany numbers from rollups: the labels of each row, and notes on the window."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from signal_pipeline.days.calendar import days_between
from signal_pipeline.days.coverage import Coverage, days_note, name_spans
from signal_pipeline.days.freshness import DayStatus, Freshness, day_statuses
from signal_pipeline.days.quality import day_quality
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.models import Models


class RollupLabels:
    """The labels and notes that must accompany the numbers of a rollup's rows.

    `app` is the app that the question is about. If it is None, a row that names no app is about all
    apps.
    """

    def __init__(
        self,
        connection: Connection,
        models: Models,
        rollup: str,
        coverage: Coverage,
        app: str | None = None,
    ) -> None:
        self._rollup, self._coverage, self._app = rollup, coverage, app
        self._untouched = set(coverage.untouched)
        # The labels of each period and app are computed once: many rows share them.
        self._labels: dict[tuple[date, date, str | None], list[str]] = {}
        checksums = models.checksums
        first, last = coverage.known_span
        self._days = {
            status.day: status for status in day_statuses(connection, checksums, first, last)
        }
        self._quality = day_quality(connection, first, last)
        self._model_changes = connection.execute(
            query(__package__, "model_changes"), {"rollup": rollup, "first": first, "last": last}
        ).fetchall()

    def of_row(self, row: Mapping[str, Any]) -> list[str]:
        """Return the labels of one row, over all days of its period.

        A day without a build is missing from every sum.
        """
        key = (*self._period(row), row.get("app_name", self._app))
        if key not in self._labels:
            self._labels[key] = self._labels_of_period(*key)
        return self._labels[key]

    def _labels_of_period(self, first: date, last: date, app: str | None) -> list[str]:
        labels = {"partial"} if self._coverage.cuts(first, last) else set[str]()
        known_first, known_last = self._coverage.known_span
        for day in days_between(max(first, known_first), min(last, known_last)):
            if day in self._untouched:
                labels.add("missing")
            elif day in self._days:
                labels |= self._labels_of_day(self._days[day], app)
        return sorted(labels) or ["fresh"]

    def _period(self, row: Mapping[str, Any]) -> tuple[date, date]:
        if "activity_date" in row:
            return row["activity_date"], row["activity_date"]
        if "week" in row:
            year, week = map(int, str(row["week"]).split("-W"))
            return date.fromisocalendar(year, week, 1), date.fromisocalendar(year, week, 7)
        return self._coverage.first, self._coverage.last

    def _labels_of_day(self, status: DayStatus, app: str | None) -> set[str]:
        freshness = status.rollups[self._rollup]
        labels = {str(freshness)} - {"fresh"}
        if status.state == "purged":
            labels.add("purged")
        if status.day in self._quality:
            labels |= self._quality[status.day].labels(None if app is None else [app])
        return labels

    def notes(self) -> list[str]:
        """Return what a reader must know about the whole window."""
        today, latest = self._coverage.today, self._coverage.latest
        not_built = self._days_that_are("missing")
        missing = [day for day in not_built if day < today]
        out = "so they are unknown and not in these numbers"
        return [
            *self._coverage.notes(),
            *days_note([*self._untouched, *missing], f"were never built, {out}"),
            *days_note(
                self._days_that_are("unavailable"), f"were purged without a {self._rollup}, {out}"
            ),
            *days_note(
                self._days_that_are("incomplete"),
                "were purged before they were proven complete, so these numbers can be too low",
            ),
            *days_note(
                self._days_that_are("stale"),
                "have newer events, or a newer model, than these numbers",
            ),
            *self._coverage.today_note(
                is_built=not any(today <= day <= latest for day in not_built)
            ),
            *self._model_note(),
        ]

    def _days_that_are(self, freshness: Freshness) -> list[date]:
        return [
            day for day, status in self._days.items() if status.rollups[self._rollup] == freshness
        ]

    def _model_note(self) -> list[str]:
        if len(self._model_changes) < 2:
            return []
        starts = [(first_day, first_day) for _, first_day in self._model_changes]
        return [
            f"the model of {self._rollup} changed inside this window; each version's first day:"
            f" {name_spans(starts)}"
        ]
