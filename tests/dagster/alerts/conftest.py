"""Alerts by a real sensor, on a real instance, to a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
import pytest
from support.alerts import APP, NO_RETRY, Tell, Tick, ended_well, start_run
from support.inbox import Inbox, open_inbox

from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance that tries a failed run once more, as ours does."""
    retries = {
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    }
    with dg.DagsterInstance.ephemeral(settings=retries) as ephemeral:
        yield ephemeral


@pytest.fixture
def box(environment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """The destination of the alerts."""
    with open_inbox() as opened:
        monkeypatch.setenv("SIGNAL_ALERT_URLS", opened.url)
        yield opened


@pytest.fixture
def tick(environment: Settings, instance: dg.DagsterInstance, defs: dg.Definitions) -> Tick:
    """Evaluates the sensor once, with the cursor of the last tick.

    Returns what it says.
    """
    cursor: list[str | None] = [None]

    def evaluate() -> str:
        context = dg.build_sensor_context(
            instance=instance, definitions=defs, cursor=cursor[0], resources=defs.resources or {}
        )
        with context:
            result = defs.resolve_sensor_def("alerts_sensor")(context)
        assert isinstance(result, dg.SkipReason)
        cursor[0] = context.cursor
        assert "Kw2" not in f"{cursor[0]} {result}"
        return result.skip_message or ""

    return evaluate


@pytest.fixture
def evaluate(instance: dg.DagsterInstance) -> Callable[..., None]:
    """Stores an evaluation of a check."""

    def store(
        passed: bool, name: str = "grain_is_unique", asset: dg.AssetKey = APP, **more: Any
    ) -> None:
        found = dg.AssetCheckEvaluation(asset_key=asset, check_name=name, passed=passed, **more)
        instance.report_runless_asset_event(found)

    return store


@pytest.fixture
def mine(connection: Connection) -> dict[str, str]:
    """The tag of a run that has taken its lock in our database."""
    return {LOCK_TAG: lock_space(connection)}


@pytest.fixture
def fail(
    instance: dg.DagsterInstance, defs: dg.Definitions, mine: dict[str, str]
) -> Callable[..., dg.DagsterRun]:
    """Fails a run of a job as Dagster does when its process is gone."""

    def run_and_fail(
        job: str = "checks_job", *, tags: dict[str, str] | None = None, **more: Any
    ) -> dg.DagsterRun:
        run = start_run(instance, defs, job, tags=mine | (tags or {}), **more)
        instance.report_run_failed(run, "private-text of an error")
        return run

    return run_and_fail


@pytest.fixture
def succeed(
    instance: dg.DagsterInstance, defs: dg.Definitions, mine: dict[str, str]
) -> Callable[..., dg.DagsterRun]:
    """Ends a run of a job, which has these tags too, as a success of these rollups or of all."""

    def run_and_end(
        job: str = "checks_job", rollups: Sequence[str] = (), **tags: str
    ) -> dg.DagsterRun:
        chosen = frozenset(map(dg.AssetKey, rollups)) or None
        run = start_run(instance, defs, job, tags=mine | tags, asset_selection=chosen)
        instance.handle_new_event(ended_well(run))
        return run

    return run_and_end


@pytest.fixture
def tell(tick: Tick, box: Inbox, fail: Callable[..., dg.DagsterRun]) -> Tell:
    """Fails a run of a job for good, and gives the titles that people get at the next tick."""

    def fail_for_good(job: str = "checks_job", **tags: str) -> list[str]:
        fail(job, tags=NO_RETRY | tags)
        tick()
        return box.titles()

    return fail_for_good
