"""Names: without a prefix those that users know, under a prefix all of them different."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from signal_pipeline.dagster.names import load_names
from signal_pipeline.definitions import build_defs
from signal_pipeline.settings import SettingsError, load_settings

ROLLUPS = ["app", "browser", "device", "entity", "os", "route"]
JOBS = {
    "raw_events_job",
    "rollups_job",
    "nightly_job",
    "retention_job",
    "checks_job",
    "left_checks_job",
    "pruning_job",
    "usage_report_job",
}
INSTIGATORS = {
    "left_checks_sensor",
    "retention_sensor",
    "landing_sensor",
    "stale_rollups_sensor",
    "run_failure_sensor",
    "red_checks_sensor",
    "abandoned_runs_sensor",
    "alerts_sensor",
    "nightly_schedule",
    "checks_schedule",
    "pruning_schedule",
    "usage_report_schedule",
}
Named = dict[str, set[str]]


def names_in(defs: dg.Definitions) -> Named:
    """Every name by which Dagster knows our definitions."""
    graph, repository = defs.resolve_asset_graph(), defs.get_repository_def()
    jobs = {name for name in repository.job_names if not name.startswith("__")}
    nodes = [node for job in jobs for node in repository.get_job(job).all_node_defs]
    return {
        "assets": {key.to_user_string() for key in graph.get_all_asset_keys()},
        "checks": {
            f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys
        },
        "jobs": jobs,
        "ops": {node.name for node in nodes},
        "instigators": {each.name for each in (*repository.sensor_defs, *repository.schedule_defs)},
        "pools": {pool for node in nodes for pool in node.pools},
    }


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], dg.Definitions]:
    """Definitions under a prefix."""

    def build(prefix: str | None) -> dg.Definitions:
        if prefix is None:
            monkeypatch.delenv("SIGNAL_ASSET_KEY_PREFIX", raising=False)
        else:
            monkeypatch.setenv("SIGNAL_ASSET_KEY_PREFIX", prefix)
        return build_defs(load_settings())

    return build


def test_without_a_prefix_the_names_are_those_that_users_know(
    built: Callable[..., dg.Definitions],
) -> None:
    found = names_in(built(None))
    assert found["assets"] == {
        "raw_events",
        "expired_raw_events",
        "usage_report",
        *(f"daily_{name}_activity" for name in ROLLUPS),
    }
    assert found["jobs"] == JOBS
    assert found["instigators"] == INSTIGATORS
    assert found["pools"] == {"ingest", "rollups", "retention"}
    assert "raw_events:books_reconcile" in found["checks"]
    assert {"rollups", "raw_events", "schema_tests", "prune_storage"} <= found["ops"]


@pytest.mark.parametrize("prefix", ["a", "data-team/signal"])
def test_under_a_prefix_every_name_is_another_and_is_known(
    built: Callable[..., dg.Definitions], prefix: str
) -> None:
    plain = names_in(built(None))
    defs = built(prefix)
    found, known = names_in(defs), load_names()
    assert found["assets"] == {f"{prefix}/{name}" for name in plain["assets"]}
    assert found["checks"] == {f"{prefix}/{name}" for name in plain["checks"]}
    for kind in plain:
        assert not plain[kind] & found[kind], kind
        assert len(plain[kind]) == len(found[kind]), kind
    assert {key.to_user_string() for key in known.assets} == found["assets"]
    assert (known.jobs, known.instigators, known.pools) == (
        found["jobs"],
        found["instigators"],
        found["pools"],
    )


def test_two_signals_and_a_team_with_our_names_load_together(
    built: Callable[..., dg.Definitions],
) -> None:
    @dg.op
    def rollups() -> None:
        """Another team's op."""

    @dg.job
    def nightly_job() -> None:
        rollups()

    @dg.asset
    def raw_events() -> None:
        """Another team's asset."""

    @dg.asset_check(asset=raw_events)
    def theirs() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    one, two = built("one"), built("two")
    team = dg.Definitions([raw_events], asset_checks=[theirs], jobs=[nightly_job])
    together = dg.Definitions.merge(one, two, team)
    dg.Definitions.validate_loadable(together)
    assert len(together.resolve_asset_graph().get_all_asset_keys()) == 19
    for prefix in ("one", "two"):
        selected = together.resolve_job_def(
            f"{prefix}__checks_job"
        ).asset_layer.asset_graph.asset_check_keys
        assert {key.asset_key.path[0] for key in selected} == {prefix}
        assert len(selected) > 80


@pytest.mark.parametrize(
    "value", ["/", "a/", "/a", "a//b", "a b", "a.b", "ä", "x" * 65, "a\nb", " a"]
)
def test_a_prefix_that_cannot_be_a_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SIGNAL_ASSET_KEY_PREFIX", value)
    with pytest.raises(
        SettingsError, match="SIGNAL_ASSET_KEY_PREFIX: is not one or more names, separated by /"
    ):
        load_settings()
