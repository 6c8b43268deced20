"""How a run of the rollups tells Dagster about the days that it has built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

import dagster as dg

from signal_pipeline.dagster.assets.rollup_metadata import DayNotes
from signal_pipeline.dagster.names import RAW_EVENTS, Names
from signal_pipeline.rollups.build import DayBuild


class RollupMarks:
    """Marks days as materialized.

    Days are marked while the run goes on. So after a crash during day 120, 118 days are marked in
    the UI. The page of an asset shows the mark that was logged last, whatever its day. So the mark
    of the newest day so far is held back until a newer day is built, or until the end. Only the
    last mark of an asset has pictures. (A build that a crash left unmarked is marked by the next
    run. If the crash left the day built only in part, the next build of that day marks it.)

    If the run has one partition, `only_day` is the day of that partition, and the results of the
    step mark its rollups. A nightly run has one partition, although it can build more days.
    """

    def __init__(self, context: dg.AssetExecutionContext, names: Names, notes: DayNotes) -> None:
        keys = context.partition_keys
        self.only_day = date.fromisoformat(keys[0]) if len(keys) == 1 else None
        self._context = context
        self._names = names
        self._notes = notes
        self._held: dict[str, DayBuild] = {}  # By asset.

    def log(self, build: DayBuild) -> None:
        """Mark the raw events of a build's day, and its rollups unless `finish` yields them.

        A purged day has no raw events to mark.
        """
        self._mark_raw_events(build)
        if build.day != self.only_day:
            self._mark_rollups(build)

    def log_earlier(self, build: DayBuild) -> None:
        """Log the materializations of a build that an earlier run made and did not mark."""
        self._mark_raw_events(build)
        self._mark_rollups(build)

    def finish(self, builds: Iterable[DayBuild]) -> Iterator[dg.MaterializeResult[None]]:
        """Mark what is held back, and yield the results of the step.

        There is one result for each rollup of `only_day` in `builds`; none without an `only_day`.
        """
        own = {name: build for build in builds if build.day == self.only_day for name in build.rows}
        for asset, build in self._held.items():
            self._log(asset, build, pictures=asset not in own)
        for name, build in own.items():
            yield dg.MaterializeResult(
                asset_key=self._names.key(name),
                metadata=self._notes.of_rollup(build, name, pictures=True),
            )

    def _mark_raw_events(self, build: DayBuild) -> None:
        if build.state == "open":
            self._mark(RAW_EVENTS, build)

    def _mark_rollups(self, build: DayBuild) -> None:
        for name in build.rows:
            self._mark(name, build)

    def _mark(self, asset: str, build: DayBuild) -> None:
        """Log the mark of an asset's day, or hold it back if the day is the newest so far."""
        held = self._held.get(asset)
        if held is not None and build.day < held.day:
            self._log(asset, build, pictures=False)
            return
        self._held[asset] = build
        # Two builds of the same day share its raw events, which need only one mark.
        if held is not None and held.day < build.day:
            self._log(asset, held, pictures=False)

    def _log(self, asset: str, build: DayBuild, *, pictures: bool) -> None:
        if asset == RAW_EVENTS:
            metadata = self._notes.of_raw_events(build, pictures=pictures)
        else:
            metadata = self._notes.of_rollup(build, asset, pictures=pictures)
        key = self._names.key(asset)
        self._context.log_event(
            dg.AssetMaterialization(key, partition=str(build.day), metadata=metadata)
        )
