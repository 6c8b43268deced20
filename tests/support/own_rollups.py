"""Rollups that a team adds to Signal's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from signal_pipeline.rollups.models import Models, load_models


def add_rollup(
    folder: Path,
    name: str,
    dimensions: Mapping[str, str],
    *,
    extra: Mapping[str, str] | None = None,
    where: str | None = None,
) -> Models:
    """Add a rollup to a copy of `dbt_like_sql`, or replace one of it; return all its models.

    `dimensions` are columns of the grain, each with its SQL; `extra` are nullable texts outside
    the grain. The rollup counts only events that meet `where`.
    """
    condition = f" and {where}" if where else ""

    def select(event_type: str, *types: str) -> str:
        columns = {**dimensions, **(extra or {})}
        chosen = "".join(f"    {sql} as {column},\n" for column, sql in columns.items())
        groups = ", ".join(["app_name", *types, *dimensions.values()])
        return (
            "select\n    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,"
            f"\n    app_name,\n    {event_type} as event_type,\n{chosen}    count(*) as events,\n"
            "    count(distinct user_hash) as users,\n"
            "    count(distinct session_id) as sessions\nfrom signal.events\n"
            f"where created_at >= $1 and created_at < $2{condition}\ngroup by {groups}\n"
        )

    statement = select("event_type", "event_type") + "\nunion all\n\n" + select("'(all)'")
    (folder / f"models/{name}.sql").write_text(statement)
    grain = ", ".join(["activity_date", "app_name", "event_type", *dimensions])
    arguments = f'{{to: events, where: "{where}"}}' if where else "{to: events}"
    columns = [
        f"      - {{name: {column}, data_type: text, description: Made up.{tests}}}"
        for names, tests in ((dimensions, ", data_tests: [not_null]"), (extra or {}, ""))
        for column in names
    ]
    entry = "\n".join(
        [
            f"  - name: {name}",
            f"    description: Made up. One row per {grain}.",
            "    owner: team:signal",
            "    columns:",
            *(f"      - *{column}" for column in ("activity_date", "app_name", "event_type")),
            *columns,
            *(f"      - *{column}" for column in ("events", "users", "sessions")),
            "    data_tests:",
            "      - dbt_utils.unique_combination_of_columns:",
            f"          arguments: {{combination_of_columns: [{grain}]}}",
            f"      - reconciles_with: {{arguments: {arguments}}}",
        ]
    )
    _write_entry(folder / "schema.yml", name, entry)
    return load_models(folder)


def _write_entry(schema: Path, name: str, entry: str) -> None:
    """Put an entry at the end of the file, in place of one with the same name."""
    head, *entries = schema.read_text().split("\n  - name: ")
    others = [each for each in entries if each.split("\n", 1)[0] != name]
    schema.write_text("\n  - name: ".join([head, *others]).rstrip() + f"\n\n{entry}\n")
