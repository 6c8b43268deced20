"""Alerts people to checks that turn red or green, and to runs that failed for good.

This module finds the news of checks in Dagster's storage, and `failure_alerts.py` finds the news of
runs. `alert_state.py` remembers what people know already, and `notifications.py` sends the
messages. Whether or not a message can be sent, `log_alerts.py` writes two things to the daemon's
log: failed runs, and the red checks of the jobs that evaluate checks.

A message holds days, counts, the run's id, and the names of checks, assets and jobs. It never holds
a check's description or an error's text, because these can name an app, a route or a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import dagster as dg

from signal_pipeline.dagster.alert_state import AlertState, deliver, read_state, write_state
from signal_pipeline.dagster.failure_alerts import failed_runs
from signal_pipeline.dagster.names import ALERTS_SENSOR, Names
from signal_pipeline.dagster.notifications import Message, check_sender, open_addresses
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import OwnRuns, own_location
from signal_pipeline.postgres.database import DatabaseUnreachableError
from signal_pipeline.settings import Settings, load_settings

TICK_SECONDS = 30
SEND_SECONDS = 20  # Dagster ends a tick after a minute, and then the tick's cursor is lost.
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
        state = read_state(context.cursor)
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

    Runs also fail because the database is away, so alerts must work without the database. Only the
    code location decides while the database is away.
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
