"""What a rebuild of a day would change, for `backfill --plan --diff`.

The day is computed into a shadow table, compared with what is stored, and thrown away. Only
temporary tables are written. The day is locked meanwhile, as for a build.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from functools import partial

import psycopg
from psycopg import sql
from psycopg.rows import kwargs_row

from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Connection, Database, fault_of_statement
from signal_pipeline.postgres.identifiers import identifiers
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.build import (
    BuildRefusedError,
    assert_complete,
    refuse_missing_events,
)
from signal_pipeline.rollups.engine import ComputedDay, Engine, EngineError
from signal_pipeline.rollups.models import Model, Models


@dataclass(frozen=True, slots=True)
class Difference:
    """What a rebuild would change in one rollup of one day.

    It counts the rows that would be added, removed and changed, and the events of the '(all)' rows.
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
        """True if a rebuild would change nothing."""
        return not (self.added or self.removed or self.changed)

    def as_dict(self) -> dict[str, object]:
        """Return the object that `backfill --plan --diff --json` prints."""
        return {**asdict(self), "day": str(self.day)}


@dataclass(frozen=True, slots=True)
class NotComputed:
    """A rollup of one day that a rebuild would leave as it is, because it would fail."""

    day: date
    rollup: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        """Return the object that `backfill --plan --diff --json` prints."""
        return {**asdict(self), "day": str(self.day)}


def day_difference(
    database: Database, engine: Engine, models: Models, day: date
) -> list[Difference | NotComputed]:
    """Return the difference of each rollup for a day that has a row in `signal.days`.

    Raises BuildRefusedError if the day is purged or raw events are missing. Raises EngineError and
    DatabaseError.
    """
    with (
        database.connect() as connection,
        day_lock(connection, day),
        engine.read(connection, day, models) as computed,
    ):
        refuse_missing_events(computed.snapshot)
        with connection.transaction(force_rollback=True):
            return [_try_difference(connection, model, computed, day) for model in models.values()]


def _try_difference(
    connection: Connection, model: Model, computed: ComputedDay, day: date
) -> Difference | NotComputed:
    try:
        with connection.transaction():
            return _difference(connection, model, computed, day)
    except psycopg.Error as error:
        return NotComputed(day, model.name, f"{model.name}: {fault_of_statement(error)}")
    except BuildRefusedError as refusal:
        return NotComputed(day, model.name, refusal.reason)
    except EngineError as error:
        return NotComputed(day, model.name, str(error))


def _difference(
    connection: Connection, model: Model, computed: ComputedDay, day: date
) -> Difference:
    shadow = sql.Identifier("pg_temp", f"shadow_{model.name}"[:63])
    stored = sql.Identifier("signal", model.name)
    # The shadow table has the same keys and checks, because they could refuse the rows of a build.
    like = sql.SQL("create temporary table {} (like {} including indexes including constraints)")
    connection.execute(like.format(shadow, stored))
    computed.write(connection, model, shadow)
    assert_complete(connection, model, computed.snapshot, shadow)
    measures = [name for name in model.columns if name not in model.grain]
    statement = sql.SQL(query(__package__, "difference")).format(
        stored=stored,
        shadow=shadow,
        grain=identifiers(model.grain),
        stored_measures=identifiers(measures, of="stored"),
        computed_measures=identifiers(measures, of="computed"),
    )
    cursor = connection.cursor(row_factory=kwargs_row(partial(Difference, day, model.name)))
    difference = cursor.execute(statement, [day]).fetchone()
    assert difference is not None
    return difference
