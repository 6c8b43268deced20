"""How a run of the rollups tells Dagster about the days that it has built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from signal_pipeline.dagster.assets.rollup_metadata import DayNotes
from signal_pipeline.dagster.names import RAW_EVENTS, Names
from signal_pipeline.rollups.build import DayBuild


class RollupMarks:
    """Marks days as materialized.

    A day is marked as soon as it is built, so that a crash at day 120 keeps 119 days marked in the
    UI. If the run has one partition, `only_day` is the day of that partition, and the results of
    the step mark its rollups. A nightly run has one partition, although it can build more days.
    """

    def __init__(self, context: dg.AssetExecutionContext, names: Names, notes: DayNotes) -> None:
        keys = context.partition_keys
        self.only_day = date.fromisoformat(keys[0]) if len(keys) == 1 else None
        self._context = context
        self._names = names
        self._notes = notes

    def log(self, build: DayBuild) -> None:
        """Mark the raw events of a build's day, and its rollups unless `results` yields them.

        A purged day has no raw events to mark.
        """
        self._log_raw_events(build)
        if build.day != self.only_day:
            self._log_rollups(build)

    def log_earlier(self, build: DayBuild) -> None:
        """Log the materializations of a build that an earlier run made and did not mark."""
        self._log_raw_events(build)
        self._log_rollups(build)

    def results(self, builds: Iterable[DayBuild]) -> Iterator[dg.MaterializeResult[None]]:
        """Yield the results of the step: one for each rollup of `only_day`, or none without it."""
        for build in builds:
            if build.day == self.only_day:
                for name in build.rows:
                    yield dg.MaterializeResult(
                        asset_key=self._names.key(name),
                        metadata=self._notes.of_rollup(build, name),
                    )

    def _log_raw_events(self, build: DayBuild) -> None:
        if build.state == "open":
            self._log(RAW_EVENTS, build.day, self._notes.of_raw_events(build))

    def _log_rollups(self, build: DayBuild) -> None:
        for name in build.rows:
            self._log(name, build.day, self._notes.of_rollup(build, name))

    def _log(self, asset: str, day: date, metadata: Mapping[str, Any]) -> None:
        key = self._names.key(asset)
        self._context.log_event(dg.AssetMaterialization(key, partition=str(day), metadata=metadata))
