"""What must accompany numbers from raw events: the labels of each row, and notes on the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from signal_pipeline.days.calendar import days_between, days_missing_raw_events
from signal_pipeline.days.coverage import Coverage, days_note
from signal_pipeline.days.quality import day_quality
from signal_pipeline.postgres.database import Connection


class RawLabels:
    """The labels and notes that must accompany numbers counted from raw events.

    `app` is the app that the question is about. If it is None, a row that names no app counts all
    apps.
    """

    def __init__(self, connection: Connection, coverage: Coverage, app: str | None = None) -> None:
        self._coverage, self._app = coverage, app
        self._quality = day_quality(connection, *coverage.known_span)
        self._incomplete = {*days_missing_raw_events(connection, list(coverage.states))}
        # A day without any stored event counts as zero, unless Signal was not yet installed.
        self._before_installation = set(coverage.never_recorded)

    def of_row(self, row: Mapping[str, Any]) -> list[str]:
        """Return the labels of one row, over all days that it counts."""
        own_day = row.get("activity_date")
        window = self._coverage.first, self._coverage.last
        first, last = (own_day, own_day) if own_day else window
        app = row.get("app_name", self._app)
        known_first, known_last = self._coverage.known_span
        labels = {"partial"} if self._coverage.cuts(first, last) else set[str]()
        for day in days_between(max(first, known_first), min(last, known_last)):
            if day in self._before_installation:
                labels.add("partial")
            if day in self._incomplete:
                labels.add("incomplete")
            if day in self._quality:
                labels |= self._quality[day].labels(None if app is None else [app])
        return sorted(labels) or ["exact"]

    def notes(self) -> list[str]:
        """Return what a reader must know about the whole window."""
        installed = self._coverage.installed
        silent = set(self._coverage.untouched) - self._before_installation
        return [
            *self._coverage.notes(),
            *days_note(
                self._before_installation,
                f"are before Signal was installed on {installed} and unknown: none of their events"
                " was replayed",
            ),
            *days_note(silent, "have no events in any app"),
            *days_note(
                self._incomplete,
                "hold fewer raw events than the books say, so these numbers are too low",
            ),
            *self._coverage.today_note(),
        ]
