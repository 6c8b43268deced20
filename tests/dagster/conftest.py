"""Fixtures for real Dagster runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date

import dagster as dg
import pytest
from support.dagster import Run

from signal_pipeline.definitions import build_defs
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings, load_settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def defs() -> dg.Definitions:
    """The project's definitions."""
    return build_defs(load_settings())


@pytest.fixture
def run(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Run:
    """Runs a job for a day, for the days from `day` to `last`, or for none."""

    def run_job(
        job: str, day: date | None, last: date | None = None, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        tags = dict(tags or {})
        if last:
            tags["dagster/asset_partition_range_start"] = str(day)
            tags["dagster/asset_partition_range_end"] = str(last)
        return defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=str(day) if day and not last else None,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    return run_job


@pytest.fixture
def admin_url(database: Database, connection: Connection) -> Iterator[str]:
    """The test's database by a login that has the role signal_admin, and owns nothing."""
    login = f"test_dagster_admin_{os.getpid()}"
    connection.execute(f"create role {login} login in role signal_admin")  # type: ignore[arg-type]
    yield database.url.replace("postgres@", f"{login}@")
    connection.execute(f"drop role {login}")  # type: ignore[arg-type]
