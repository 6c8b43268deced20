"""What a rollup may keep: it outlives its raw events, and an erasure must find its entities."""

from __future__ import annotations

from signal_pipeline.rollups.lineage import Query
from signal_pipeline.rollups.problem import Problem

_NEVER_KEPT = ("user_hash", "session_id", "client_event_id", "id")
# `entity_rollups.sql` and `guards.sql` find the tables with entities by these names.
_ENTITY = ("entity_type", "entity_id")


def check_kept_values(query: Query) -> None:
    """Raise Problem for a value that the purge or an erasure would not reach."""
    for column, origins in query.kept.items():
        for origin in _NEVER_KEPT:
            if origin in origins:
                raise Problem(
                    f"the column {column} comes from {origin} and is not a count: a rollup outlives"
                    " the raw events, so it keeps nobody's hash, session or event id"
                )
    # An entity type alone is one of a closed list, and says nothing of an entity.
    if any("entity_id" in origins for origins in query.kept.values()):
        _check_entity(query)


def _check_entity(query: Query) -> None:
    rule = "an erasure finds an entity only by both entity_type and entity_id"
    for column, origins in query.kept.items():
        for origin in _ENTITY:
            if origin in origins and column != origin:
                raise Problem(
                    f"the column {column} comes from {origin} and is not a count, so its name must"
                    f" be {origin}: {rule}"
                )
    for name in _ENTITY:
        if name not in query.kept:
            raise Problem(f"the column {name} is missing: {rule}")
        if query.kept[name] and name not in query.kept[name]:
            raise Problem(f"the column {name} does not come from {name}: {rule}")
