"""What a rebuild of a day would change: computed into a shadow, held against what is stored, and
thrown away.

Nothing is written but temporary tables. The day is locked meanwhile, as for a build. Who asks for
it: `backfill --plan --diff`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import cast

from psycopg import sql

from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Connection, Database, safe_errors
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.build import refuse_incomplete
from signal_pipeline.rollups.engine import Built, Engine
from signal_pipeline.rollups.models import Model


@dataclass(frozen=True, slots=True)
class Difference:
    """One rollup of one day: rows that a rebuild would add, remove and change, and the events of
    its '(all)' rows.
    """

    day: date
    rollup: str
    stored_rows: int
    computed_rows: int
    added: int
    removed: int
    changed: int
    stored_events: int
    computed_events: int

    @property
    def same(self) -> bool:
        """Whether a rebuild would change nothing."""
        return not (self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, object]:
        """The object that `backfill --plan --diff --json` prints."""
        return {**asdict(self), "day": str(self.day)}


def day_difference(
    database: Database, engine: Engine, models: Mapping[str, Model], day: date
) -> list[Difference]:
    """The difference of each rollup of a day that has a row in `signal.days`.

    Raises BuildRefusedError where a build would be refused, EngineError and DatabaseError.
    """
    with (
        safe_errors(),
        database.connect() as connection,
        day_lock(connection, day),
        engine.read(connection, day, models) as built,
    ):
        refuse_incomplete(built.snapshot)
        with connection.transaction(force_rollback=True):
            return [_difference(connection, model, built, day) for model in models.values()]


def _difference(connection: Connection, model: Model, built: Built, day: date) -> Difference:
    shadow = sql.Identifier("pg_temp", f"shadow_{model.name}"[:63])
    stored = sql.Identifier("signal", model.name)
    connection.execute(sql.SQL("create temporary table {} (like {})").format(shadow, stored))
    built.write(connection, model, shadow)
    measures = [name for name in model.columns if name not in model.grain]
    statement = sql.SQL(query(__package__, "difference")).format(
        stored=stored,
        shadow=shadow,
        grain=_names(model.grain),
        stored_measures=_names(measures, "stored"),
        computed_measures=_names(measures, "computed"),
    )
    row = connection.execute(statement, [day]).fetchone()
    return Difference(day, model.name, *cast("tuple[int, int, int, int, int, int, int]", row))


def _names(names: Sequence[str], table: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(*([table] if table else []), name) for name in names)
