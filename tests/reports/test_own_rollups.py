"""Rollups that a team adds: a report of one is right, and takes nothing from the others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Fill
from support.own_rollups import add_rollup
from support.reports import SUNDAY, frame

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize("by", ["day", "week", "total"])
def test_a_column_outside_the_grain_splits_no_sum(
    database: Database, connection: Connection, folder: Path, fill: Fill, by: Any
) -> None:
    saturday = SUNDAY - timedelta(days=1)
    columns = {"first_client_event": "min(cast(client_event_id as text))"}
    added = add_rollup(
        folder, "daily_gadget_activity", {"device_type": "device_type"}, extra=columns
    )
    migrate_rollups(connection, added)
    for day in (saturday, SUNDAY):
        fill(day)
        build_day(database, PostgresEngine(), added, day)
    own, same = (
        frame(rollup_report(database, added, kind, saturday, SUNDAY, by=by))
        for kind in ("gadget", "device")
    )
    assert list(own.columns) == list(same.columns)
    assert sorted(map(tuple, own.to_numpy())) == sorted(map(tuple, same.to_numpy()))
