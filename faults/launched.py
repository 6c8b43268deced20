"""Runs like those that a daemon launches: each has a code location and a process of its own.

Dagster's public API makes such runs only from a workspace. This module uses private parts of
Dagster, so that a test can have many such runs.
"""

from __future__ import annotations

import sys
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_run
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.snap import snapshot_from_execution_plan

from faults.actions import quiet
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.dagster.liveness import QUIET
from signal_pipeline.definitions import defs
from signal_pipeline.settings import load_settings

REPOSITORY = "__repository__"


def label(location: str) -> str:
    """Return the label that Dagster puts on the code location's runs."""
    return f"{REPOSITORY}@{location}"


def create_run(
    instance: dg.DagsterInstance, job: dg.JobDefinition, location: str = "signal", **options: Any
) -> dg.DagsterRun:
    """Create a run of a job of that code location, without executing it."""
    return instance.create_run_for_job(job, run_config=QUIET, **_origins(job, location), **options)


def create_run_of_checks(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    checks: frozenset[dg.AssetCheckKey],
    location: str = "signal",
    **options: Any,
) -> tuple[dg.DagsterRun, dg.JobDefinition]:
    """Create a run of these checks and of nothing else, as the UI does; return it and its job.

    `job` is the job of all assets.
    """
    part = job.get_subset(asset_check_selection=checks)
    plan = create_execution_plan(part, run_config=QUIET)
    run = instance.create_run(
        job_name=part.name,
        run_id=None,
        run_config=QUIET,
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=plan.step_keys_to_execute,
        execution_plan_snapshot=snapshot_from_execution_plan(plan, part.get_job_snapshot_id()),
        job_snapshot=part.get_job_snapshot(),
        parent_job_snapshot=part.get_parent_job_snapshot(),
        asset_selection=None,
        asset_check_selection=checks,
        resolved_op_selection=None,
        op_selection=None,
        asset_graph=part.asset_layer.asset_graph,
        **{"status": None, "tags": None, **options},
        **_origins(job, location),
    )
    return run, part


def _origins(job: dg.JobDefinition, location: str) -> dict[str, Any]:
    module = RepositoryPythonOrigin(
        sys.executable, ModuleCodePointer("signal_pipeline.definitions", "defs")
    )
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY)
    return {
        "remote_job_origin": RemoteJobOrigin(repository, job.name),
        "job_code_origin": JobPythonOrigin(job.name, module),
    }


def execute_in_this_process(
    instance: dg.DagsterInstance, run: dg.DagsterRun, job: dg.JobDefinition
) -> None:
    """Execute a run in this process."""
    execute_run(InMemoryJob(job), run, instance, raise_on_error=True)


def execute(run_id: str) -> None:
    """Execute a run of ours in this process, which exists only for this run."""
    quiet()
    with open_instance(load_settings()) as instance:
        run = instance.get_run_by_id(run_id)
        assert run
        execute_in_this_process(instance, run, defs().resolve_job_def(run.job_name))


if __name__ == "__main__":
    execute(sys.argv[1])
