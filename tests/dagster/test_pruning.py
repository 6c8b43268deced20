"""Pruning a real Dagster storage on PostgreSQL: old logs go, each partition's state stays."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from conftest import Fill
from support.dagster import STORAGE_TABLES, Run, storage_rows
from support.days import days_ago, yesterday

from faults import launched
from signal_pipeline.dagster import pruning
from signal_pipeline.dagster.liveness import end_dead_runs
from signal_pipeline.dagster.names import PRUNING_JOB, load_names
from signal_pipeline.dagster.pruning import PruningResult, prune_dagster_storage
from signal_pipeline.dagster.run_locks import lock_space
from signal_pipeline.dagster.runs import LOCK_TAG, OwnRuns
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import sqlalchemy_url
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def instance(storage: Database, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on the empty storage."""
    url = sqlalchemy_url(storage.url)
    config = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def ours(environment: Settings, connection: Connection) -> OwnRuns:
    """The names and locks that are ours in the code location `signal`."""
    return OwnRuns(load_names(), lock_space(connection), launched.label("signal"))


CHECKS = [
    ("raw_events", "landing_moves"),
    ("daily_app_activity", "grain_is_unique"),
    ("expired_raw_events", "nothing_expired"),
]


def rows(storage: Database, table: str) -> int:
    """How many rows a table of Dagster's has."""
    with storage.connect() as connection:
        row = connection.execute(f"select count(*) from {table}").fetchone()  # type: ignore[arg-type]
    assert row
    return int(row[0])  # type: ignore[call-overload]


def prune(instance: dg.DagsterInstance, ours: OwnRuns, days: int = 1) -> PruningResult:
    """Prune everything that is older than a time in the future, which is everything."""
    pruned = prune_dagster_storage(instance, ours, datetime.now(UTC) + timedelta(days=days))
    assert pruned
    return pruned


def test_a_pruning_run_that_takes_long_is_not_taken_for_dead(
    run: Run, instance: dg.DagsterInstance, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def prune_for_long(instance: dg.DagsterInstance, ours: OwnRuns, before: datetime) -> None:
        seen.append(end_dead_runs(instance, connection, ours, {}, 0.0))

    monkeypatch.setattr(pruning, "prune_dagster_storage", prune_for_long)
    assert run(PRUNING_JOB, None).success
    assert seen == [([], {})]


def test_old_logs_go_and_the_state_of_partitions_stays(
    run: Run, instance: dg.DagsterInstance, storage: Database, fill: Fill, ours: OwnRuns
) -> None:
    days = [days_ago(2), yesterday()]
    for day in days:
        fill(day)
    for _ in range(3):
        assert run("rollups_job", days[0], days[1]).success
    assert run("nightly_job", days[1], checks=CHECKS).success
    app, raw = dg.AssetKey("daily_app_activity"), dg.AssetKey("raw_events")
    before = {key: instance.get_materialized_partitions(key) for key in (app, raw)}
    latest = instance.get_latest_materialization_event(app)
    check = dg.AssetCheckKey(app, "grain_is_unique")
    checked = rows(storage, "asset_check_executions where execution_status <> 'PLANNED'")
    events = rows(storage, "event_logs")

    assert set(prune(instance, ours, days=-1).deleted.values()) == {0}
    gone = prune(instance, ours).deleted

    assert gone["events"] > events * 0.8
    assert rows(storage, "event_logs") == events - gone["events"]
    assert {key: instance.get_materialized_partitions(key) for key in (app, raw)} == before
    assert before[app] == {str(day) for day in days}
    assert instance.get_latest_materialization_event(app) == latest
    assert rows(storage, "asset_check_executions") == checked  # Each was evaluated once.
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    assert records[check].status.value == "SUCCEEDED"
    # Of the three range runs, the last one still holds the materializations of the day that the
    # nightly run did not build.
    assert gone["runs"] == 2
    assert run("rollups_job", days[0], days[1]).success


def test_an_evaluation_is_kept_under_a_newer_plan_that_was_never_evaluated(
    run: Run, instance: dg.DagsterInstance, storage: Database, fill: Fill, ours: OwnRuns
) -> None:
    """A backfill of a range from the UI plans every check, and evaluates none."""
    fill(yesterday())
    for _ in range(2):
        assert run("nightly_job", yesterday(), checks=CHECKS).success
    with storage.connect() as connection:
        connection.execute(
            "insert into asset_check_executions (asset_key, check_name, run_id, execution_status)"
            " select asset_key, check_name, 'planned', 'PLANNED' from asset_check_executions group"
            " by 1, 2"
        )
        checks = connection.execute(
            "select count(distinct (asset_key, check_name)) from asset_check_executions"
        )
        (count,) = checks.fetchone() or (0,)
        assert count == len(CHECKS)
    # The plans of both nightly runs, and the results of the first.
    assert prune(instance, ours).deleted["checks"] == 3 * count
    with storage.connect() as connection:
        left = connection.execute(
            "select execution_status, count(*) from asset_check_executions group by 1"
        )
        assert dict(left.fetchall()) == {"PLANNED": count, "SUCCEEDED": count}  # type: ignore[arg-type]


def test_a_run_that_has_not_ended_keeps_its_events(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: OwnRuns
) -> None:
    running = launched.create_run(
        instance, defs.resolve_job_def("rollups_job"), status=dg.DagsterRunStatus.STARTED
    )
    instance.report_engine_event("at work", running)
    assert set(prune(instance, ours).deleted.values()) == {0}
    assert instance.get_run_by_id(running.run_id)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def their_table(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """An asset that is materialized and observed."""
    context.log_event(
        dg.AssetObservation("their_source", tags={"dagster/data_version": context.run.run_id})
    )
    return dg.MaterializeResult(tags={"theirs": "yes"})


@dg.asset_check(asset=their_table)
def their_check() -> dg.AssetCheckResult:
    """A green check."""
    return dg.AssetCheckResult(passed=True)


@dg.op
def mail() -> None:
    """An op that does nothing."""


@dg.job(name="nightly_job", executor_def=dg.in_process_executor)
def their_nightly_job() -> None:
    """A job without assets, under a name of ours."""
    mail()


@dg.job(executor_def=dg.in_process_executor)
def mail_job() -> None:
    """A job without assets."""
    mail()


@dg.asset
def their_other_table() -> None:
    """An asset without a check."""


@dg.asset(name="raw_events")
def their_raw_events() -> None:
    """An asset of another code location, by mistake under a key of ours."""


def neighbours_rows(instance: dg.DagsterInstance) -> None:
    """Leave another team's rows in the storage.

    Each kind is left several times, so that pruning would not keep a row only because it is the
    last of its kind.
    """
    one = dg.in_process_executor
    built = dg.Definitions(
        [their_table, their_other_table],
        asset_checks=[their_check],
        jobs=[
            dg.define_asset_job("theirs", [their_table]),
            dg.define_asset_job("others", [their_other_table]),
        ],
        executor=one,
    )
    same_key = dg.Definitions(
        [their_raw_events], jobs=[dg.define_asset_job("rollups_job")], executor=one
    )
    theirs, others = map(built.resolve_job_def, ("theirs", "others"))
    for _ in range(3):
        for location in ("neighbour", "signal"):  # They can share our code location too.
            partition = {"dagster/partition": "a"}
            launched.execute_in_this_process(
                instance, launched.create_run(instance, theirs, location, tags=partition), theirs
            )
            for each in (others, mail_job):
                launched.execute_in_this_process(
                    instance, launched.create_run(instance, each, location), each
                )
        plain = launched.create_run(instance, their_nightly_job, "neighbour")
        launched.execute_in_this_process(instance, plain, their_nightly_job)
        job = same_key.resolve_job_def("rollups_job")
        launched.execute_in_this_process(
            instance, launched.create_run(instance, job, "neighbour"), job
        )
        dg.materialize([their_table, their_check], instance=instance, partition_key="a")
        their_nightly_job.execute_in_process(instance=instance)
        instance.create_run_for_job(
            their_nightly_job, tags={LOCK_TAG: "1/1"}, status=dg.DagsterRunStatus.FAILURE
        )
        for key in ("their_table", "raw_events"):
            instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="a"))
            instance.report_runless_asset_event(
                dg.AssetObservation(key, tags={"dagster/data_version": "1"})
            )
        check = dg.AssetCheckEvaluation(
            asset_key=their_table.key, check_name="their_check", passed=True
        )
        instance.report_runless_asset_event(check)


def test_nothing_of_others_goes(
    run: Run, instance: dg.DagsterInstance, storage: Database, fill: Fill, ours: OwnRuns
) -> None:
    neighbours_rows(instance)
    theirs = storage_rows(storage)
    fill(yesterday())
    for _ in range(3):
        assert run("rollups_job", yesterday()).success
    job = run("checks_job", None)
    before = storage_rows(storage)
    pruned = prune(instance, ours)
    after = storage_rows(storage)
    # One key is ours too, and its row has changed.
    assert theirs - after == {row for row in theirs if row[0] == "asset_keys"} - after
    gone = before - after
    assert {table for table, *_ in gone} == {"event_logs", "asset_event_tags", "runs", "run_tags"}
    assert len([row for row in gone if row[0] == "event_logs"]) == pruned.deleted["events"] > 200
    assert job.success
    counted = {table: len([row for row in theirs if row[0] == table]) for table in STORAGE_TABLES}
    assert pruned.others == {
        "events": counted["event_logs"],
        "checks": counted["asset_check_executions"],
        "runs": counted["runs"],
        "ticks": 0,
    }


def test_the_last_observation_of_a_partition_stays_as_the_last_materialization_does(
    instance: dg.DagsterInstance, storage: Database, ours: OwnRuns
) -> None:
    @dg.op
    def observe(context: dg.OpExecutionContext) -> None:
        for partition in ("a", "b", None):
            for version in range(2):
                tags = {"dagster/data_version": str(version)}
                context.log_event(dg.AssetObservation("raw_events", partition=partition, tags=tags))
                context.log_event(
                    dg.AssetMaterialization("raw_events", partition=partition, tags=tags)
                )

    @dg.job(name="rollups_job", executor_def=dg.in_process_executor)
    def job() -> None:
        observe()

    launched.execute_in_this_process(instance, launched.create_run(instance, job), job)
    prune(instance, ours)
    with storage.connect() as connection:
        left = connection.execute(
            "select dagster_event_type, partition from event_logs where asset_key is not null"
        )
        kinds = ("ASSET_OBSERVATION", "ASSET_MATERIALIZATION")
        assert sorted(map(str, left)) == sorted(
            str((kind, p)) for kind in kinds for p in ("a", "b", None)
        )
        orphans = connection.execute(
            "select count(*) from asset_event_tags as t where not exists"
            " (select from event_logs as e where e.id = t.event_id)"
        )
        assert orphans.fetchone() == (0,)
    observed = instance.fetch_observations(dg.AssetKey("raw_events"), limit=1).records
    assert observed[0].asset_observation.tags["dagster/data_version"] == "1"


def test_the_run_says_what_went_and_what_stayed(
    run: Run, instance: dg.DagsterInstance, storage: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours_rows(instance)
    with storage.connect() as connection:
        for table, column in (("runs", "update_timestamp"), ("event_logs", "timestamp")):
            connection.execute(f"update {table} set {column} = {column} - interval '3 days'")  # type: ignore[arg-type]
    stored = rows(storage, "event_logs")

    def told(days: str) -> str:
        monkeypatch.setenv("SIGNAL_DAGSTER_RETENTION_DAYS", days)
        result = run(PRUNING_JOB, None)
        assert result.success
        logs = instance.all_logs(result.run_id)
        return " ".join(entry.user_message for entry in logs) + str(
            [
                event.step_handled_output_data
                for event in result.all_events
                if event.is_handled_output
            ]
        )

    text = told("2")
    assert "'events': 0" in text
    assert f"of others, so untouched: {{'events': {stored}" in text
    assert "'events': 0" in told("4")
    assert "nothing is pruned" in told("0")


def test_another_storage_is_left_alone(ours: OwnRuns) -> None:
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert prune_dagster_storage(elsewhere, ours, datetime.now(UTC)) is None
