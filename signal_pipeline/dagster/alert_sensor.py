"""Alerts people to checks that turn red or green, and to runs that failed for good.

This module finds the news in Dagster's storage and words the messages. `alert_state.py` remembers
what people know already, and `notifications.py` sends the messages. Whether or not a message can be
sent, `log_alerts.py` writes a line about the same fault to the daemon's log.

A message holds days, counts, the run's id, and the names of checks, assets and jobs. It never holds
a check's description or an error's text, because these can name an app, a route or a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from signal_pipeline.dagster.alert_state import (
    AlertState,
    deliver,
    mend_times,
    read_state,
    write_state,
)
from signal_pipeline.dagster.log_alerts import failure_line
from signal_pipeline.dagster.names import ALERTS_SENSOR, Names
from signal_pipeline.dagster.notifications import Message, check_sender, open_addresses
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import (
    FAILED_DAYS_TAG,
    OwnRuns,
    days_at_fault,
    days_of,
    has_succeeded_for,
    named_rollups,
    own_location,
)
from signal_pipeline.postgres.database import DatabaseUnreachableError
from signal_pipeline.settings import Settings, load_settings

TICK_SECONDS = 30
FIRST_LOOK_SECONDS = 3600  # A run that failed within this time before the first tick is news.
LONGEST_LOOK_SECONDS = 7 * 86_400  # After a longer pause, older failures are not news.
OVERLAP_SECONDS = 600  # Dagster can store the ends of runs out of order.
RETRY_PATIENCE_SECONDS = 600  # Dagster starts a retry within seconds; after this time it will not.
REPEAT_SECONDS = 86_400  # A job that keeps failing for the same days is reported once a day.
SEND_SECONDS = 20  # Dagster ends a tick after a minute, and then the tick's cursor is lost.
WILL_RETRY_TAG, RETRIED_TAG = "dagster/will_retry", "dagster/auto_retry_run_id"
ADVICE = {
    "nothing_overdue": (
        "raw days are kept past their retention, or the retention is refused, which is a privacy"
        " alarm: see `signal-pipeline retention --dry-run` for the reason"
    ),
}
OTHER_ADVICE = "open it in the Dagster UI, which says what to do"


def build_alerts_sensor(
    checks: Iterable[dg.AssetCheckKey], names: Names, settings: Settings
) -> dg.SensorDefinition:
    """Return the sensor that alerts people.

    Raises SettingsError if alerts are wanted and Apprise, which sends them, is not installed.
    """
    check_sender(settings)
    keys = sorted(checks)

    @dg.sensor(
        name=names.named(ALERTS_SENSOR),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Sends a message to each address of SIGNAL_ALERT_URLS when a check turns red or green,"
            " or when a run has failed and is not retried."
        ),
    )
    def alerts_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SkipReason:
        """Send one message for each change.

        The cursor keeps what was reported and what could not be sent yet.
        """
        senders = open_addresses(load_settings())
        if not senders:
            return dg.SkipReason("SIGNAL_ALERT_URLS is not set")
        now = time.time()
        state = read_state(context.cursor, now - FIRST_LOOK_SECONDS)
        ours = _own_runs(postgres, names, own_location(context))
        news = [
            *changed_checks(context.instance, keys, state),
            *failed_runs(context.instance, ours, state, now),
        ]
        give_up = time.monotonic() + SEND_SECONDS
        sent, waiting = deliver(
            state, senders, news, context.log.warning, lambda: time.monotonic() < give_up
        )
        context.update_cursor(write_state(state))
        return dg.SkipReason(f"{len(news)} change(s), {sent} message(s) sent, {waiting} wait")

    return alerts_sensor


def _own_runs(postgres: PostgresResource, names: Names, location: str | None) -> OwnRuns:
    """Return the rule by which a run is ours.

    Runs also fail because the database is away, so alerts must work without it: then only the code
    location decides.
    """
    try:
        with postgres.connect() as connection:
            return OwnRuns.seen_by(connection, names, location)
    except DatabaseUnreachableError:
        return OwnRuns(names, "", location)


def changed_checks(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], state: AlertState
) -> list[Message]:
    """Return a message for each check that turned red or green, and update the state's `red`.

    Only the last evaluation counts, however many there were since the last look.
    """
    known, red, news = set(state.red), set(), []
    for name, evaluation in sorted(_last_evaluations(instance, checks).items()):
        is_error = evaluation.severity == dg.AssetCheckSeverity.ERROR
        # A red check whose severity is now only WARN is not green yet.
        if not evaluation.passed and (is_error or name in known):
            red.add(name)
            if name not in known:
                news.append(_turned_red(name, evaluation))
        elif name in known:
            news.append(
                Message(f"Signal: {name} is green again", f"check {name} is green again", "success")
            )
    state.red = sorted(red)
    return news


def _turned_red(name: str, evaluation: Any) -> Message:
    counts = [
        f"{label} {count}"
        for label, entry in evaluation.metadata.items()
        if (count := _count(entry)) is not None
    ]
    advice = ADVICE.get(evaluation.check_name, OTHER_ADVICE)
    return Message(
        f"Signal: {name} is red",
        f"check {name} is red{''.join(f', {each}' for each in counts)}: {advice}",
    )


def _count(entry: Any) -> int | None:
    """Return a number, or the length of a list.

    Returns None for all else, which could hold more than a count.
    """
    value = getattr(entry, "value", None)
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _last_evaluations(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]
) -> dict[str, Any]:
    storage = instance.event_log_storage
    last = storage.get_latest_asset_check_execution_by_key(list(checks))
    # A run has planned these checks but not evaluated them, and perhaps never will. Until it does,
    # the last result holds, however many plans there have been since.
    planned = [key for key, record in last.items() if record.status.value == "PLANNED"]
    before = {
        key: summary.last_completed_check_execution_record
        for key, summary in storage.get_asset_check_summary_records(planned).items()
    }
    return {
        f"{key.name} of {key.asset_key.to_user_string()}": record.evaluation
        for key, record in {**last, **before}.items()
        if record and record.evaluation
    }


def failed_runs(
    instance: dg.DagsterInstance, ours: OwnRuns, state: AlertState, now: float
) -> list[Message]:
    """Return a message for each failure of ours since the last look that is news and not retried.

    The state then counts these runs as known. `now` is in seconds since 1970.
    """
    mend_times(state, now, LONGEST_LOOK_SECONDS)
    since = state.seen_until - OVERLAP_SECONDS
    state.seen = {run_id: ended for run_id, ended in state.seen.items() if ended > since}
    news = []
    failures = [*_new_failures(instance, ours, state, since), *_waiting_failures(instance, state)]
    # A run of a machine whose clock is ahead ends after now.
    state.seen_until = min(state.seen_until, now)
    for run, ended in sorted(failures, key=lambda each: each[1]):
        if not ours.includes(run) or _wait_for_retry(instance, run, state, now):
            continue
        state.seen[run.run_id] = ended
        if RETRIED_TAG in run.tags:
            continue
        if _note_if_news(instance, ours, state, run, min(ended, now)):
            news.append(Message(f"Signal: {run.job_name} failed", failure_line(run)))
    return news


def _new_failures(
    instance: dg.DagsterInstance, ours: OwnRuns, state: AlertState, since: float
) -> list[tuple[dg.DagsterRun, float]]:
    """Return our failed runs that the state does not hold yet; move its `seen_until` on."""
    new = ours.records(
        instance,
        statuses=[dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.fromtimestamp(since, UTC),
    )
    ends = [(record.dagster_run, _end_time(record)) for record in new]
    state.seen_until = max([state.seen_until, *(ended for _, ended in ends)])
    return [
        (run, ended)
        for run, ended in ends
        if ended > since and run.run_id not in {*state.seen, *state.retrying}
    ]


def _waiting_failures(
    instance: dg.DagsterInstance, state: AlertState
) -> list[tuple[dg.DagsterRun, float]]:
    """Return the failed runs that wait for a retry; the state forgets those that are deleted."""
    if not state.retrying:
        return []
    waiting = instance.get_run_records(dg.RunsFilter(run_ids=list(state.retrying)))
    state.retrying = {
        record.dagster_run.run_id: state.retrying[record.dagster_run.run_id] for record in waiting
    }
    return [(record.dagster_run, _end_time(record)) for record in waiting]


def _end_time(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _wait_for_retry(
    instance: dg.DagsterInstance, run: dg.DagsterRun, state: AlertState, now: float
) -> bool:
    """Keep a run waiting, and return True, if Dagster can retry it and has not begun to.

    Just after a failure, Dagster tags the run with whether it will be retried. This sensor allows
    one tick for the tag to appear. Dagster can also drop a retry that it has announced, so the wait
    is bounded. While a run waits, it is in the state's `retrying`.
    """
    waiting_since = state.retrying.pop(run.run_id, None)
    answer = run.tags.get(WILL_RETRY_TAG)
    if answer is None and waiting_since is None and instance.run_retries_enabled:
        state.retrying[run.run_id] = now
        return True
    if waiting_since is None:
        waiting_since = now
    is_over = RETRIED_TAG in run.tags or now - waiting_since > RETRY_PATIENCE_SECONDS
    if answer != "true" or is_over:
        return False
    state.retrying[run.run_id] = waiting_since
    return True


def _note_if_news(
    instance: dg.DagsterInstance, ours: OwnRuns, state: AlertState, run: dg.DagsterRun, ended: float
) -> bool:
    """Return whether a failure is news, and if it is, note in the state that people are told.

    It is not news if people were told within the last day that the job failed for these days, and
    the job has not succeeded for any of them since.
    """
    days = days_of(run)
    what = f"{run.job_name} {run.tags.get(FAILED_DAYS_TAG) or days}"
    state.told = {each: at for each, at in state.told.items() if ended - at < REPEAT_SECONDS}
    told = state.told.get(what)
    if told is not None and not _has_succeeded(instance, ours, run, told):
        return False
    state.told[what] = ended
    return True


def _has_succeeded(
    instance: dg.DagsterInstance, ours: OwnRuns, failed: dg.DagsterRun, since: float
) -> bool:
    """Return whether a run of the job has since then succeeded for a day and rollups at fault."""
    days, rollups = days_at_fault(failed), [*map(ours.names.key, named_rollups(failed))]
    succeeded = ours.records(
        instance,
        job_name=failed.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        updated_after=datetime.fromtimestamp(since, UTC),
    )
    return any(
        ours.includes(record.dagster_run)
        and has_succeeded_for(instance, record.dagster_run, days, rollups)
        for record in succeeded
    )
