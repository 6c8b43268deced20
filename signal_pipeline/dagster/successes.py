"""Says whether a job has succeeded since a failure, for the days and rollups at fault.

It reads only runs of that job, and only a bounded number of them: Dagster ends a tick of a sensor
after a minute, and then nobody would be told of anything.
"""

from __future__ import annotations

import dagster as dg

from signal_pipeline.dagster.runs import OwnRuns, can_have_done, has_done, what_failed

PAGE = 500
MOST_PAGES = 20


class Successes:
    """Our successful runs as one tick sees them: those of a job are read once, page by page."""

    def __init__(self, instance: dg.DagsterInstance, ours: OwnRuns) -> None:
        self._instance = instance
        self._ours = ours
        self._pages: dict[str, list[list[dg.DagsterRun]]] = {}
        self._events: dict[str, int] = {}

    def after(self, event: int, failed: dg.DagsterRun) -> bool:
        """Return whether a failed run's job has succeeded, after an event, for what was at fault.

        Runs come in the order of their creation, the newest first. One can end after others that
        were created later, so the search stops only after a page whose newest run ended before the
        event. The search also stops after MOST_PAGES, without having found out. The answer is then
        yes: people are told once too often rather than not at all.
        """
        key = self._ours.names.key
        wanted = {day: [*map(key, names)] for day, names in what_failed(failed).items()}
        for number in range(MOST_PAGES):
            page = self._page(failed.job_name, number)
            if any(
                self._ours.includes(run)
                and can_have_done(run, wanted)
                and self._event(run) > event
                and has_done(self._instance, run, wanted)
                for run in page
            ):
                return True
            if len(page) < PAGE or self._event(page[0]) <= event:
                return False
        return True

    def _page(self, job: str, number: int) -> list[dg.DagsterRun]:
        pages = self._pages.setdefault(job, [])
        if number == len(pages):
            last = pages[-1][-1].run_id if pages else None
            found = self._ours.records(
                self._instance,
                limit=PAGE,
                before=last,
                job_name=job,
                statuses=[dg.DagsterRunStatus.SUCCESS],
            )
            pages.append([record.dagster_run for record in found])
        return pages[number]

    def _event(self, run: dg.DagsterRun) -> int:
        """Return the number of the event by which a run succeeded, or 0 if its log is deleted."""
        if run.run_id not in self._events:
            found = self._instance.get_records_for_run(
                run.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS, limit=1
            ).records
            self._events[run.run_id] = found[0].storage_id if found else 0
        return self._events[run.run_id]
