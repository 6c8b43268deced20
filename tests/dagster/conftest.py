"""Fixtures for real Dagster runs: on the embedded PostgreSQL only, since what differs between servers is tested below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime

import dagster as dg
import pytest
from conftest import START_DATE
from dagster_tests_support import Run
from traffic import traffic

from signal_pipeline.definitions import build_defs
from signal_pipeline.ingest import Ingest
from signal_pipeline.settings import Settings
from signal_pipeline.store.embedded import start_embedded


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded server's maintenance database."""
    return start_embedded(tmp_path_factory.mktemp("dagster")).replace("/signal?", "/postgres?")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def defs() -> dg.Definitions:
    """The project's definitions."""
    return build_defs()


@pytest.fixture
def run(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Run:
    """Runs a job for a day, or for the days from `day` to `last`."""

    def run_job(
        job: str, day: date, last: date | None = None, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        tags = dict(tags or {})
        if last:
            tags["dagster/asset_partition_range_start"] = str(day)
            tags["dagster/asset_partition_range_end"] = str(last)
        return defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=None if last else str(day),
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    return run_job


@pytest.fixture
def fill(ingest_at: Callable[[datetime], Ingest]) -> Callable[..., None]:
    """Ingests traffic of a day, as it came then."""

    def fill_day(day: date, count: int = 30, seed: int = 1) -> None:
        assert day >= START_DATE
        now = datetime.fromisoformat(f"{day}T23:59:59+00:00")
        assert ingest_at(now).ingest_lines(traffic(day, count, seed)).accepted == count

    return fill_day
