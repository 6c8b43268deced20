"""Lists of names in a statement that psycopg composes."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql


def identifiers(names: Iterable[str], *, of: str | None = None) -> sql.Composed:
    """Return names quoted and separated by commas, each with the table or alias `of` before it."""
    qualifier = () if of is None else (of,)
    return sql.SQL(", ").join(sql.Identifier(*qualifier, name) for name in names)
