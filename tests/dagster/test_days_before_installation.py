"""Days before the installation: nobody recorded them, so Dagster must not show them as zero."""

from __future__ import annotations

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run, metadata_of
from support.days import days_ago, yesterday

pytestmark = pytest.mark.embedded_only
REPLAYED = 2  # Days ago: the only day before the installation that has events.


def test_a_materialization_of_raw_events_counts_no_day_that_nobody_recorded(
    fill: Fill, run: Run, instance: dg.DagsterInstance
) -> None:
    fill(days_ago(REPLAYED), 20)
    assert run("raw_events_job", days_ago(3), yesterday()).success
    assert (
        metadata_of(instance, "raw_events", days_ago(REPLAYED))["dagster/partition_row_count"] == 20
    )
    for unknown in (days_ago(3), yesterday()):
        shown = metadata_of(instance, "raw_events", unknown)
        assert "dagster/partition_row_count" not in shown
        assert "it is not zero" in str(shown["note"])
