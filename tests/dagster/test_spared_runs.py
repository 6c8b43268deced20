"""Runs that could be alive, or are not ours, are left alone."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest
from support.dagster import empty_job, status_of

from faults import launched
from signal_pipeline.dagster.liveness import LOST_SECONDS, end_dead_runs
from signal_pipeline.dagster.runs import LOCK_TAG, OwnRuns
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only
STARTED = dg.DagsterRunStatus.STARTED


@dg.job(name="nightly_job")
def _their_nightly_job() -> None:
    """A job of another team, under a name that is ours too."""


@dg.asset(name="theirs")
def _theirs() -> None:
    """An asset of another team."""


@dg.asset(name="raw_events")
def _raw_events() -> None:
    """An asset of ours, by its key."""


_mixed_job = dg.Definitions(
    [_theirs, _raw_events], jobs=[dg.define_asset_job("mixed_job")]
).resolve_job_def("mixed_job")


def of_another_location(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    return launched.create_run(instance, _their_nightly_job, "neighbour", status=STARTED)


def of_our_location_but_not_ours(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    return launched.create_run(instance, empty_job, status=STARTED)


def of_their_assets_in_our_location(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    return launched.create_run(
        instance,
        _mixed_job,
        status=STARTED,
        asset_selection=_mixed_job.asset_layer.executable_asset_keys,
    )


def of_a_script(instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns) -> dg.DagsterRun:
    return instance.create_run_for_job(_their_nightly_job, status=STARTED)


def of_another_signal(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    """A command's run, whose lock is in another database."""
    return instance.create_run_for_job(empty_job, tags={LOCK_TAG: "1/1"}, status=STARTED)


def of_our_location_before_it_moved(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    """A run that our location launched when it was configured for another database.

    Its lock is in that database.
    """
    return launched.create_run(
        instance, defs.resolve_job_def("rollups_job"), tags={LOCK_TAG: "1/1"}, status=STARTED
    )


def of_another_location_by_our_resource(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> dg.DagsterRun:
    """A run that takes our lock only in its steps.

    Another executor runs each step in a process of its own.
    """
    return launched.create_run(
        instance, empty_job, "neighbour", tags={LOCK_TAG: ours.locks}, status=STARTED
    )


def not_begun(instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns) -> dg.DagsterRun:
    job = defs.resolve_job_def("rollups_job")
    return launched.create_run(
        instance, job, tags={LOCK_TAG: ours.locks}, status=dg.DagsterRunStatus.STARTING
    )


NOT_TO_BE_ENDED = [
    of_another_location,
    of_our_location_but_not_ours,
    of_their_assets_in_our_location,
    of_a_script,
    of_another_signal,
    of_our_location_before_it_moved,
    of_another_location_by_our_resource,
    not_begun,
]


@pytest.mark.parametrize("located", [True, False], ids=["sensor", "command"])
def test_runs_that_are_left_alone(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    ours: OwnRuns,
    located: bool,
) -> None:
    """What is not ours or may live is never ended."""
    runs = {make.__name__: make(stored, defs, ours) for make in NOT_TO_BE_ENDED}
    before = {name: status_of(stored, run) for name, run in runs.items()}
    seen_by = ours if located else replace(ours, location=None)
    suspects: dict[str, float] = {}
    for now in range(0, 7200, 600):
        ended, suspects = end_dead_runs(stored, connection, seen_by, suspects, float(now))
        assert ended == []
    assert {name: status_of(stored, run) for name, run in runs.items()} == before


def test_a_command_ends_a_launched_run(
    stored: dg.DagsterInstance, defs: dg.Definitions, connection: Connection, ours: OwnRuns
) -> None:
    """With the daemon dead too, nobody else frees the place that the run holds."""
    run = launched.create_run(
        stored, defs.resolve_job_def("rollups_job"), tags={LOCK_TAG: ours.locks}, status=STARTED
    )
    by_command = replace(ours, location=None)
    _, suspects = end_dead_runs(stored, connection, by_command, {}, 0.0)
    assert end_dead_runs(stored, connection, by_command, suspects, LOST_SECONDS)[0] == [run.run_id]
