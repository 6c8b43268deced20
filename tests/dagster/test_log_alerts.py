"""The lines in the daemon's log, written by real ticks of the sensors that watch runs."""

from __future__ import annotations

import logging

import dagster as dg
import pytest
from conftest import Fill
from dagster._core.definitions.sensor_definition import SensorExecutionData
from support.alerts import ended_well, start_run
from support.dagster import Run
from support.days import days_ago, due_day, yesterday

from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that sensors write to their log with level ERROR."""
    written: list[str] = []

    def write(log: logging.Logger, message: str, *values: object, **_: object) -> None:
        written.append(message % values if values else message)

    monkeypatch.setattr(logging.Logger, "error", write)
    return written


def tick(
    instance: dg.DagsterInstance, defs: dg.Definitions, cursor: str | None
) -> SensorExecutionData:
    """Evaluate the sensor of red checks as the daemon does."""
    with dg.build_sensor_context(
        instance=instance, definitions=defs, cursor=cursor, resources=defs.resources or {}
    ) as context:
        return defs.resolve_sensor_def("red_checks_sensor").evaluate_tick(context)


def test_red_checks_are_told_of_once_though_a_run_without_checks_ends_in_the_same_tick(
    environment: Settings,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    run: Run,
    fill: Fill,
    connection: Connection,
    lines: list[str],
) -> None:
    cursor = tick(instance, defs, None).cursor
    fill(days_ago(4))
    connection.execute(
        "insert into signal.books values (%s, 'cms', 'lost', 'accepted', '', 7)", [days_ago(4)]
    )
    assert run("nightly_job", yesterday()).success
    instance.handle_new_event(ended_well(start_run(instance, defs, "rollups_job")))
    seen = tick(instance, defs, cursor)
    told = [line for line in lines if "books_reconcile" in line]
    assert len(told) == 1
    assert tick(instance, defs, seen.cursor).dagster_run_reactions == []
    assert [line for line in lines if "books_reconcile" in line] == told


def test_a_red_check_of_the_retention_is_told_of_though_no_nightly_run_evaluated_it(
    environment: Settings,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    run: Run,
    fill: Fill,
    lines: list[str],
) -> None:
    cursor = tick(instance, defs, None).cursor
    fill(due_day(8))  # It has no rollups, so it is kept.
    assert run("retention_job", None).success
    tick(instance, defs, cursor)
    assert len([line for line in lines if "nothing_overdue" in line]) == 1
