"""Finds our runs that have failed for good, and says which failures people must be told of.

Failures are read in the order in which Dagster's storage took them, because each machine stamps its
runs with a clock of its own. What people know is in the state of `alert_state.py`.
"""

from __future__ import annotations

from datetime import date
from typing import Literal, NamedTuple

import dagster as dg

from signal_pipeline.dagster.alert_state import FIRST_LOOK_SECONDS, AlertState, Failure, mend_times
from signal_pipeline.dagster.log_alerts import failure_line
from signal_pipeline.dagster.notifications import Message
from signal_pipeline.dagster.runs import FAILED_DAYS_TAG, OwnRuns, days_of, ended_at
from signal_pipeline.dagster.successes import Successes

# A failure can be stored a moment later than an event with a higher number. So each look begins
# this many events, of all kinds, before the last failure that was seen.
OVERLAP_EVENTS = 10_000
PAGE = 500
RETRY_PATIENCE_SECONDS = 600  # Dagster starts a retry within seconds; after this time it will not.
REPEAT_SECONDS = 86_400  # A job that keeps failing for the same days is reported once a day.
RUN_FAILURE: Literal[dg.DagsterEventType.RUN_FAILURE] = dg.DagsterEventType.RUN_FAILURE
WILL_RETRY_TAG, RETRIED_TAG = "dagster/will_retry", "dagster/auto_retry_run_id"


class _Failed(NamedTuple):
    """A run that has failed: its failure's UTC date by its own clock, and its event's number.

    The storage gave that number to the event of the failure.
    """

    run: dg.DagsterRun
    event: int
    on: date

    @classmethod
    def read(cls, record: dg.RunRecord, event: int) -> _Failed:
        return cls(record.dagster_run, event, ended_at(record).date())


def failed_runs(
    instance: dg.DagsterInstance, ours: OwnRuns, state: AlertState, now: float
) -> list[Message]:
    """Return a message for each of our failed runs that is not retried and whose failure is news.

    This looks at the runs that have failed since the last look, and at those that waited for a
    retry. The state then counts these runs as known. `now` is in seconds since 1970.
    """
    mend_times(state, now)
    news, successes = [], Successes(instance, ours)
    waiting = _waiting_failures(instance, state)
    failures = [*waiting, *_new_failures(instance, ours, state, now)]
    for failed in sorted(failures, key=lambda each: each.event):
        run = failed.run
        if not ours.includes(run) or _wait_for_retry(instance, failed, state, now):
            continue
        if RETRIED_TAG not in run.tags and _note_if_news(successes, state, failed, now):
            news.append(Message(f"Signal: {run.job_name} failed", failure_line(run)))
    return news


def _new_failures(
    instance: dg.DagsterInstance, ours: OwnRuns, state: AlertState, now: float
) -> list[_Failed]:
    """Return our failed runs that the state does not hold yet; they are known from now on."""
    if state.last_event is None:
        newest = instance.fetch_run_status_changes(RUN_FAILURE, limit=1).records
        state.first_event = state.last_event = newest[0].storage_id if newest else 0
        state.look_since = now - FIRST_LOOK_SECONDS
    after = max(state.first_event, state.last_event - OVERLAP_EVENTS)
    changes = _failures(instance, after=after)
    if state.look_since is not None:
        changes += _failures(instance, since=state.look_since)
    new = {each.run_id: each.storage_id for each in changes if each.run_id not in state.known}
    found = ours.records(instance, run_ids=list(new)) if new else []
    failures = [_Failed.read(each, new[each.dagster_run.run_id]) for each in found]
    if ours.locks:
        state.last_event, state.look_since = max([state.last_event, *new.values()]), None
        oldest = state.last_event - OVERLAP_EVENTS
        known = {**state.known, **new}
        state.known = {run_id: event for run_id, event in known.items() if event > oldest}
    else:  # The database is away, so other runs can be ours too: the next look asks again.
        state.known |= {failed.run.run_id: failed.event for failed in failures}
    return failures


def _failures(
    instance: dg.DagsterInstance, after: int | None = None, since: float | None = None
) -> list[dg.EventLogRecord]:
    """Return every failure of a run, in the storage's order.

    These are the failures after an event, or since a time by the clocks of the machines that ran
    the runs.
    """
    found: list[dg.EventLogRecord] = []
    while True:
        wanted = dg.RunStatusChangeRecordsFilter(
            RUN_FAILURE, after_timestamp=since, after_storage_id=after
        )
        page = instance.fetch_run_status_changes(wanted, limit=PAGE, ascending=True).records
        found += page
        if len(page) < PAGE:
            return found
        after = page[-1].storage_id


def _waiting_failures(instance: dg.DagsterInstance, state: AlertState) -> list[_Failed]:
    """Return the failed runs that wait for a retry; the state forgets those that are deleted."""
    if not state.waiting:
        return []
    found = instance.get_run_records(dg.RunsFilter(run_ids=list(state.waiting)))
    runs = {each.dagster_run.run_id: each for each in found}
    state.waiting = {run_id: each for run_id, each in state.waiting.items() if run_id in runs}
    return [_Failed.read(runs[run_id], each.event) for run_id, each in state.waiting.items()]


def _wait_for_retry(
    instance: dg.DagsterInstance, failed: _Failed, state: AlertState, now: float
) -> bool:
    """Keep a run waiting, and return True, if Dagster can retry it and has not begun to.

    Just after a failure, Dagster tags the run with whether it will be retried. This sensor allows
    one tick for the tag to appear. Dagster can also drop a retry that it has announced, so the wait
    is bounded. While a run waits, it is in the state's `waiting`.
    """
    tags, run_id = failed.run.tags, failed.run.run_id
    waiting = state.waiting.pop(run_id, None)
    answer = tags.get(WILL_RETRY_TAG)
    first = Failure(now, failed.event)
    if answer is None and waiting is None and instance.run_retries_enabled:
        state.waiting[run_id] = first
        return True
    waiting = waiting or first
    is_over = RETRIED_TAG in tags or now - waiting.at > RETRY_PATIENCE_SECONDS
    if answer != "true" or is_over:
        return False
    state.waiting[run_id] = waiting
    return True


def _note_if_news(successes: Successes, state: AlertState, failed: _Failed, now: float) -> bool:
    """Return whether a failure is news, and if it is, note in the state that people are told.

    It is not news if people were told within the last day that the job failed for these days, and
    the job has not succeeded for any of them since that failure. For a run without days, the date
    of its failure takes their place: a job that fails each night is news each night, even if it
    fails a little earlier than the night before.
    """
    run = failed.run
    what = f"{run.job_name} {run.tags.get(FAILED_DAYS_TAG) or days_of(run) or failed.on}"
    state.told_of = {
        each: told for each, told in state.told_of.items() if now - told.at < REPEAT_SECONDS
    }
    told = state.told_of.get(what)
    if told is not None and not successes.after(told.event, run):
        return False
    state.told_of[what] = Failure(now, failed.event)
    return True
