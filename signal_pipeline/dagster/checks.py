"""The asset checks: the tests of `schema.yml`, and the probes (`probes/`).

Checks are unpartitioned, because Dagster would record no partition for them in a range run. They
block nothing, so that a fault of one day does not hold up other days. They need not block: the
build's transaction refuses a rollup that does not add up to the raw events, and the retention
proves each day.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.dagster.assets.charts import markdown_table
from signal_pipeline.dagster.names import LANDING_SENSOR, RAW_EVENTS_JOB, ROLLUPS_JOB, Names
from signal_pipeline.dagster.probes import (
    book_balance,
    bot_counts,
    drop_rate,
    identity,
    overdue_days,
)
from signal_pipeline.dagster.probes.probe import Probe
from signal_pipeline.dagster.probes.stale_builds import rollup_probes
from signal_pipeline.dagster.probes.stuck_landing import landing_probes
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.days.calendar import first_kept_day, today_utc
from signal_pipeline.rollups.model_tests import ModelTest, model_tests
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import load_settings


@dataclass(frozen=True, slots=True)
class Checks:
    """Every check of the project.

    `hourly` are the keys of the checks that are cheap enough to run every hour. The others count
    the raw events of every kept day, and run at night (docs/decisions.md).
    """

    definitions: list[dg.AssetChecksDefinition]
    hourly: list[dg.AssetCheckKey]

    @property
    def keys(self) -> set[dg.AssetCheckKey]:
        """The keys of all checks."""
        return {key for definition in self.definitions for key in definition.check_keys}


def build_checks(models: Models, catalogue: Catalogue, names: Names) -> Checks:
    """Return the checks: the tests of these models, and the probes."""
    tests, probes = model_tests(models, catalogue), list_probes(models, names)
    hourly = [
        *(_key(names, test.model, test.name) for test in tests if not test.reads_raw_events),
        *(_key(names, probe.asset, probe.name) for probe in probes if not probe.reads_raw_events),
    ]
    definitions = [_build_test_checks(tests, names), *(_build_check(p, names) for p in probes)]
    return Checks(definitions, hourly)


def list_probes(models: Models, names: Names) -> list[Probe]:
    """Return every probe, including two for each rollup."""
    landing = landing_probes(sensor=names.named(LANDING_SENSOR), job=names.named(RAW_EVENTS_JOB))
    rollups = [
        probe
        for rollup, checksum in models.checksums.items()
        for probe in rollup_probes(rollup, checksum, job=names.named(ROLLUPS_JOB))
    ]
    return [
        *book_balance.PROBES,
        *drop_rate.PROBES,
        *bot_counts.PROBES,
        *identity.PROBES,
        *landing,
        *overdue_days.PROBES,
        *rollups,
    ]


def _key(names: Names, asset: str, name: str) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(names.key(asset), name)


def _build_test_checks(tests: Iterable[ModelTest], names: Names) -> dg.AssetChecksDefinition:
    """Return the tests of `schema.yml`, over the days whose raw events are kept."""
    by_key = {_key(names, test.model, test.name): test for test in tests}
    specs = [
        dg.AssetCheckSpec(key.name, asset=key.asset_key, description=test.description)
        for key, test in by_key.items()
    ]

    @dg.multi_asset_check(name=names.named("schema_tests"), specs=specs, can_subset=True)
    def schema_tests(
        context: dg.AssetCheckExecutionContext, postgres: PostgresResource
    ) -> Iterator[dg.AssetCheckResult]:
        today = today_utc()
        first = first_kept_day(today, load_settings().retention_days)
        with postgres.connect() as connection:
            for key, test in by_key.items():
                if key in context.selected_asset_check_keys:
                    faults = test.count_faults(connection, first, today)
                    yield _test_result(test, key, faults)

    return schema_tests


def _test_result(test: ModelTest, key: dg.AssetCheckKey, faults: int) -> dg.AssetCheckResult:
    good = "No row is at fault."
    bad = f"{faults} row(s), group(s) or day(s) break this test. {_advice(test)}"
    return dg.AssetCheckResult(
        passed=faults == 0,
        asset_key=key.asset_key,
        check_name=key.name,
        description=bad if faults else good,
        metadata={"faults": faults},
    )


def _advice(test: ModelTest) -> str:
    of_catalogue = (
        "If a name is not in the catalogue: put its entry back, with `retired: true`. Otherwise: "
        if test.of_catalogue
        else ""
    )
    return (
        f"{of_catalogue}Rebuild the kept days with `signal-pipeline backfill`. If the check stays"
        f" red, the model dbt_like_sql/models/{test.model}.sql and its entry in schema.yml"
        " disagree."
    )


def _build_check(probe: Probe, names: Names) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=names.key(probe.asset), name=probe.name, description=probe.description)
    def check(postgres: PostgresResource) -> dg.AssetCheckResult:
        with postgres.connect() as connection:
            finding = probe.ask(connection, load_settings())
        return dg.AssetCheckResult(
            passed=finding.passed,
            severity=dg.AssetCheckSeverity(probe.severity),
            description=finding.message,
            metadata={name: _as_metadata(value) for name, value in finding.figures.items()},
        )

    return check


def _as_metadata(value: Any) -> Any:  # Any is whatever Dagster takes as metadata.
    """Return a mapping (figures by day, app or rollup) as a table, which the UI shows at once.

    Any other value is returned as it is.
    """
    if isinstance(value, Mapping):
        return dg.MetadataValue.md(markdown_table(("", "found"), list(value.items())))
    return value
