"""A rollup may not have the name of one of Signal's own tables, views or assets."""

from __future__ import annotations

from pathlib import Path

import pytest

from signal_pipeline.dagster.names import Names
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.models import ModelError, Models, load_models

pytestmark = pytest.mark.embedded_only
RELATIONS = """
select relname from pg_class
where
    relnamespace in ('signal'::regnamespace, 'signal_reporting'::regnamespace)
    and relkind in ('r', 'p', 'v', 'S')
"""


def taken_names(database: Database, models: Models) -> set[str]:
    """What a migrated database and Dagster have, beside what the rollups bring."""
    of_rollups = {name + end for name in models for end in ("", "_by_type")}
    with database.connect() as connection:
        relations = {str(name) for (name,) in connection.execute(RELATIONS)}
    assets = {key.to_user_string() for key in Names(()).assets}
    return (relations | assets) - of_rollups


def test_a_name_of_signal_is_refused_and_named(
    folder: Path, database: Database, models: Models
) -> None:
    schema = folder / "schema.yml"
    written = schema.read_text()
    names = taken_names(database, models) | {"events_20260304"}
    assert {"raw_events", "usage_report", "events", "builds", "intake", "app_days"} <= names
    for name in sorted(names):
        schema.write_text(written.replace("name: daily_os_activity", f"name: {name}"))
        with pytest.raises(ModelError, match=f"{name}: the name is taken by Signal") as raised:
            load_models(folder)
        assert "choose another" in str(raised.value)
