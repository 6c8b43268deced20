"""What the UI shows of a rollup: columns and SQL on its definition, counts and times on each materialization.

Counts only: no raw row, no hash, no session.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from signal_pipeline.rollups.build import DayBuild
from signal_pipeline.rollups.models import Model


def definition_metadata(model: Model) -> dict[str, Any]:
    """Metadata that is there before the first run: table, columns with their sources, SQL."""
    return {
        "dagster/table_name": f"signal.{model.name}",
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(
                    column.name,
                    type=column.data_type,
                    description=f"{column.description} ({column.origin})",
                )
                for column in model.columns.values()
            ]
        ),
        "sql": dg.MetadataValue.md(f"```sql\n{model.sql}\n```"),
        "model_checksum": model.checksum[:12],
    }


def build_metadata(build: DayBuild, name: str) -> dict[str, Any]:
    """Metadata of one day's build of one rollup."""
    return {
        "dagster/partition_row_count": build.rows[name],
        "raw_events": build.raw_events,
        "version": build.version,
        "seconds": round(build.seconds, 3),
    }
