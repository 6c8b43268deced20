"""The asset checks: the tests of `schema.yml`, and the probes of the modules beside this one.

Which asset a check belongs to, and its severity, are decided here. Checks are unpartitioned,
because a range run would lose their partition. They block nothing. What must never be visible is
asserted inside the build's transaction, and the retention proves each day by itself; so a fault of
one day does not hold up the others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.dagster import probes
from signal_pipeline.dagster.assets.charts import markdown_table
from signal_pipeline.dagster.bot_probe import bots_are_steady
from signal_pipeline.dagster.landing_probe import begun_sizes, landing_moves
from signal_pipeline.dagster.names import LANDING_SENSOR, RAW_EVENTS_JOB, ROLLUPS_JOB, Names
from signal_pipeline.dagster.probes import Finding
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.days.calendar import first_kept_day, today_utc
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.model_tests import ModelTest, audits
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class _Probe:
    asset: str
    probe: Callable[[Connection, Settings], Finding]
    severity: dg.AssetCheckSeverity


def build_checks(models: Mapping[str, Model], names: Names) -> list[dg.AssetChecksDefinition]:
    """Return every check of the project."""
    return [schema_checks(models, names), *probe_checks(models, names)]


def schema_checks(models: Mapping[str, Model], names: Names) -> dg.AssetChecksDefinition:
    """Return the tests of `schema.yml`, over the days whose raw events are kept."""
    tests = model_tests(models, load_catalogue(load_settings().catalogue))
    specs = [
        dg.AssetCheckSpec(t.name, asset=names.key(t.model), description=t.description)
        for t in tests
    ]

    @dg.multi_asset_check(name=names.named("schema_tests"), specs=specs, can_subset=True)
    def schema_tests(
        context: dg.AssetCheckExecutionContext, postgres: PostgresResource
    ) -> Iterator[dg.AssetCheckResult]:
        today = today_utc()
        first = first_kept_day(today, load_settings().retention_days)
        with postgres.connect() as connection:
            for test in tests:
                key = dg.AssetCheckKey(names.key(test.model), test.name)
                if key in context.selected_asset_check_keys:
                    yield _audited(test, key.asset_key, test.count_faults(connection, first, today))

    return schema_tests


def checks_that_read_raw(models: Mapping[str, Model], names: Names) -> list[dg.AssetCheckKey]:
    """Return the checks that count the raw events of every kept day.

    They run by night, not each hour (docs/decisions.md).
    """
    tests = model_tests(models, load_catalogue(load_settings().catalogue))
    found = [
        ("raw_events", "books_reconcile"),
        *((test.model, test.name) for test in tests if test.reads_raw),
    ]
    return [dg.AssetCheckKey(names.key(asset), name) for asset, name in found]


def _audited(test: ModelTest, asset: dg.AssetKey, faults: int) -> dg.AssetCheckResult:
    good = "No row is at fault."
    bad = (
        f"{faults} row(s) or group(s) break this test. Rebuild the days with `signal-pipeline"
        f" backfill`; if it stays red, the model dbt_like_sql/models/{test.model}.sql and its entry"
        " in schema.yml disagree."
    )
    return dg.AssetCheckResult(
        passed=faults == 0,
        asset_key=asset,
        check_name=test.name,
        description=bad if faults else good,
        metadata={"faults": faults},
    )


def probe_checks(models: Mapping[str, Model], names: Names) -> list[dg.AssetChecksDefinition]:
    """Return one check for each probe."""
    checksums = {name: model.checksum for name, model in models.items()}
    drains = {"sensor": names.named(LANDING_SENSOR), "job": names.named(RAW_EVENTS_JOB)}
    no_day_waits = partial(probes.no_day_waits, job=names.named(ROLLUPS_JOB))
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    found = {
        "books_reconcile": _Probe("raw_events", lambda c, s: probes.books_reconcile(c), error),
        "few_drops": _Probe("raw_events", lambda c, s: probes.few_drops(c), warn),
        "bots_are_steady": _Probe("raw_events", lambda c, s: bots_are_steady(c), warn),
        "addresses_arrive": _Probe("raw_events", lambda c, s: probes.addresses_arrive(c), warn),
        "identities_are_apart": _Probe(
            "raw_events", lambda c, s: probes.identities_are_apart(c), warn
        ),
        "one_secret_per_day": _Probe("raw_events", lambda c, s: probes.one_secret_per_day(c), warn),
        "landing_moves": _Probe(
            "raw_events", lambda c, s: landing_moves(s, begun_sizes(c), **drains), warn
        ),
        "nothing_expired": _Probe("expired_raw_events", probes.nothing_expired, warn),
        "nothing_overdue": _Probe("expired_raw_events", probes.nothing_overdue, error),
    }
    for name, checksum in checksums.items():
        found[f"{name}/yesterday_is_built"] = _Probe(
            name, _of_rollup(probes.yesterday_is_built, name, checksum), error
        )
        found[f"{name}/no_day_waits"] = _Probe(
            name, _of_rollup(no_day_waits, name, checksum), error
        )
    return [_check(name.rpartition("/")[2], probe, names) for name, probe in found.items()]


def _of_rollup(
    probe: Callable[[Connection, Mapping[str, str]], Finding], rollup: str, checksum: str
) -> Callable[[Connection, Settings], Finding]:
    return lambda connection, settings: probe(connection, {rollup: checksum})


def _check(name: str, probe: _Probe, names: Names) -> dg.AssetChecksDefinition:
    elsewhere = {asked.__name__: asked for asked in (landing_moves, bots_are_steady)}
    asked = elsewhere.get(name) or getattr(probes, name)

    @dg.asset_check(
        asset=names.key(probe.asset),
        name=name,
        description=(asked.__doc__ or "").partition("\n")[0],
    )
    def check(postgres: PostgresResource) -> dg.AssetCheckResult:
        with postgres.connect() as connection:
            finding = probe.probe(connection, load_settings())
        return dg.AssetCheckResult(
            passed=finding.passed,
            severity=probe.severity,
            description=finding.message,
            metadata={name: _shown(value) for name, value in finding.figures.items()},
        )

    return check


def _shown(value: Any) -> Any:  # Any is whatever Dagster takes as metadata.
    """Show figures by day or by app as a table, which the UI shows in place."""
    if isinstance(value, Mapping):
        return dg.MetadataValue.md(markdown_table(("", "found"), list(value.items())))
    return value
