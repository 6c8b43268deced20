"""What the UI shows of a rollup, on its definition and on each materialization.

The definition shows columns and SQL. A materialization shows counts and times. The materialization
of a run's newest day also shows a trend and a preview of rows. Nothing shows a raw row, a hash, a
session id, or any row or column that a report hides from analysts.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from logging import Logger
from typing import Any

import dagster as dg
from psycopg import sql
from psycopg.rows import dict_row

from signal_pipeline.dagster.assets.charts import BLUE, bar_chart, code_block, markdown_table
from signal_pipeline.dagster.assets.pictures import drawn
from signal_pipeline.dagster.assets.raw_events import books_picture, day_note, profile_metadata
from signal_pipeline.days.calendar import days_between
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.days.profile import DayProfile, day_outcomes
from signal_pipeline.days.quality import DayQuality, day_quality
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.of_rollups import hidden_on_day
from signal_pipeline.reports.small_cells import can_hide_small
from signal_pipeline.rollups.build import DayBuild
from signal_pipeline.rollups.models import Model, Models
from signal_pipeline.rollups.schema_yml import DATE_COLUMN, MEASURES

TREND_DAYS = 30
PREVIEW_ROWS = 8
# The date is that of the partition. The id of an entity must not get into Dagster's storage: an
# entity can be erased, but that storage keeps whatever was once written to it.
NOT_PREVIEWED = (DATE_COLUMN, "entity_id")
# Why a preview leaves rows out.
SMALL = "small cells, and rows from which they could be worked out."
FOR_ADMINS = "only admins get rows of this rollup."


def definition_metadata(model: Model) -> dict[str, Any]:
    """Return the metadata of a rollup's definition. The UI shows it before the first run.

    It has the table, the columns with their sources, the SQL, its file, and the checksum of the
    model.
    """
    return {
        "dagster/table_name": f"signal.{model.name}",
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, type=column.data_type, description=column.described)
                for column in model.columns.values()
            ]
        ),
        "dagster/code_references": dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(
                    file_path=str(model.path), label=f"models/{model.path.name}"
                )
            ]
        ),
        "sql": dg.MetadataValue.md(code_block("sql", model.select)),
        "model_checksum": model.checksum[:12],
    }


class DayNotes:
    """Metadata for the days of one run, whose log warns of pictures that cannot be drawn.

    Only the day that an asset's page will show has a trend, a preview or the books, because Dagster
    keeps all metadata for a long time.
    """

    def __init__(self, connection: Connection, models: Models, log: Logger) -> None:
        self._connection = connection
        self._models = models
        self._log = log
        self._users: dict[tuple[date, int], str] = {}  # By day and version.

    def of_raw_events(self, build: DayBuild, *, pictures: bool) -> dict[str, Any]:
        """Describe a day's raw events as the build saw them, and its outcomes as they are now."""
        outcomes = day_outcomes(self._connection, build.day)
        profile = DayProfile(
            build.day,
            build.version,
            "open",
            build.raw_events,
            build.first_event,
            build.last_event,
            outcomes,
        )
        metadata = profile_metadata(self._log, profile)
        if pictures:
            metadata |= books_picture(self._log, self._connection, build.day)
        return metadata

    def of_rollup(self, build: DayBuild, name: str, *, pictures: bool) -> dict[str, Any]:
        """Describe a day of one rollup: its rows, what was read, and how far to trust its users."""
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": build.rows[name],
            "raw_events": build.raw_events,
            "state": build.state,
            "version": build.version,
            "seconds": round(build.seconds, 3),
            "users_are": self._labels_of_users(build),
        }
        if note := day_note(build.day, build.state):
            metadata["note"] = note
        if pictures:
            draw = {
                "trend": partial(self._trend, name, build.day),
                "preview": partial(self._preview, name, build),
            }
            metadata |= drawn(self._log, name, build.day, draw)
        return metadata

    def _trend(self, name: str, last: date) -> str:
        first = last - timedelta(days=TREND_DAYS - 1)
        rows = self._connection.execute(
            sql.SQL(query(__package__, "trend")).format(rollup=sql.Identifier(name)),
            {"first": first, "last": last},
        ).fetchall()
        series = {day: {"events": events} for day, events in rows}
        checksums = self._models.only([name]).checksums
        statuses = day_statuses(self._connection, checksums, first, last)
        built = {
            status.day
            for status in statuses
            if status.rollups[name] not in ("missing", "unavailable")
        }
        unknown = set(days_between(first, last)) - built
        return bar_chart(series, {"events": BLUE}, "events per day", last, TREND_DAYS, unknown)

    def _preview(self, name: str, build: DayBuild) -> str:
        """Return the rows with the most events, without those that only admins get in a report."""
        model = self._models[name]
        # Counts come first, because the UI's column is narrow. A column that is neither a measure
        # nor in the grain is not shown, because the rule for small cells does not know it.
        columns = [*MEASURES]
        columns += [column for column in model.grain if column not in NOT_PREVIEWED]
        if not can_hide_small(self._models, name):
            return markdown_table(columns, [], _left_out(build.rows[name], FOR_ADMINS))
        hidden = hidden_on_day(self._connection, self._models, model, build.day)
        cursor = self._connection.cursor(row_factory=dict_row)
        rows = cursor.execute(
            sql.SQL(query(__package__, "preview")).format(
                all=identifiers(list(model.columns)),
                columns=identifiers(columns),
                rollup=sql.Identifier(name),
            ),
            {"day": build.day, "rows": PREVIEW_ROWS + len(hidden.values)},
        ).fetchall()
        shown = [row for row in rows if not hidden.hides(row)][:PREVIEW_ROWS]
        cells = [[row[column] for column in columns] for row in shown]
        return markdown_table(columns, cells, _left_out(len(hidden.values), SMALL))

    def _labels_of_users(self, build: DayBuild) -> str:
        """Return what casts doubt on the users of a build, or `exact`.

        The day's quality is read after the build, so that it covers every event that the build
        read.
        """
        key = (build.day, build.version)
        if key not in self._users:
            quality = day_quality(self._connection, build.day, build.day).get(build.day)
            self._users[key] = _words(quality, build)
        return self._users[key]


def _words(quality: DayQuality | None, build: DayBuild) -> str:
    if quality is None or (build.raw_events and not quality.keys):
        return "unknown"
    labels = quality.labels(None) | ({"incomplete"} if build.state == "incomplete" else set())
    return ", ".join(sorted(labels)) or "exact"


def _left_out(rows: int, why: str) -> str:
    return f"{rows:,} row(s) are left out: {why}" if rows else ""
