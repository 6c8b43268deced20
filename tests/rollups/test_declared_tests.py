"""Tests that a team declares in its own `schema.yml`, on a day that is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundle import SignalBundle
from support.days import days_ago

from signal_pipeline.catalogue.load import Catalogue, load_catalogue
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.model_tests import ModelTest, model_tests
from signal_pipeline.rollups.models import load_models

DAY = days_ago(3)
pytestmark = pytest.mark.embedded_only


@pytest.fixture
def catalogue() -> Catalogue:
    return load_catalogue()


def declared(folder: Path, catalogue: Catalogue, model: str, name: str) -> ModelTest:
    """The test of that name of that model."""
    tests = model_tests(load_models(folder), catalogue)
    [test] = [each for each in tests if (each.model, each.name) == (model, name)]
    return test


@pytest.mark.parametrize(
    ("written", "instead", "name", "fault"),
    [
        (
            "to: events}",
            "to: events, by: [app_name, event_type]}",
            "reconciles_with_events",
            "events = events + 1",
        ),
        (
            "to: events}",
            "to: events, where: \"coalesce(route, '/') like '/%' and 7 % 4 = 3 -- all\"}",
            "reconciles_with_events",
            "events = events + 1",
        ),
        (
            "values: [(all)]",
            "values: [(all), 100%, '%s']",
            "event_type_accepted_values",
            "event_type = '100 ' || event_type",
        ),
    ],
)
def test_it_passes_and_finds_a_fault(
    bundle: SignalBundle,
    folder: Path,
    catalogue: Catalogue,
    written: str,
    instead: str,
    name: str,
    fault: str,
) -> None:
    path = folder / "schema.yml"
    text = path.read_text()
    assert written in text
    path.write_text(text.replace(written, instead, 1))
    test = declared(folder, catalogue, "daily_app_activity", name)
    bundle.fill(DAY)
    bundle.build(DAY)
    with bundle.database.connect() as connection:
        assert test.count_faults(connection, DAY, DAY) == 0
        connection.execute(f"update signal.daily_app_activity set {fault}")  # type: ignore[arg-type]
        assert test.count_faults(connection, DAY, DAY) > 0


def test_a_rollup_is_not_held_against_a_stale_one(
    bundle: SignalBundle, folder: Path, catalogue: Catalogue
) -> None:
    """The other rollup of the day waits for its build, which is no fault of either."""
    name = "reconciles_with_daily_app_activity"
    test = declared(folder, catalogue, "daily_device_activity", name)
    bundle.fill(DAY)
    bundle.build(DAY)
    bundle.fill(DAY, 3, seed=2)
    models = load_models(folder).only(["daily_device_activity"])
    build_day(bundle.database, open_engine(bundle.settings, bundle.database), models, DAY)
    with bundle.database.connect() as connection:
        assert test.count_faults(connection, DAY, DAY) == 0
        bundle.build(DAY)
        assert test.count_faults(connection, DAY, DAY) == 0
        connection.execute("update signal.daily_app_activity set events = events + 1")
        assert test.count_faults(connection, DAY, DAY) > 0
