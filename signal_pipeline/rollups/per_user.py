"""A model's SQL in a form that the workers of a cluster compute, one user after the other.

Distinct sessions cannot be counted where the events are placed by `user_hash`: a session can have
several hashes, because its address changed. So each worker counts the sessions of each user, the
coordinator adds them up, and the sessions of several hashes are corrected for (`postgres_engine`).
It is pure: no database.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp

_DIALECT = "postgres"
_USER = "user_hash"


@dataclass(frozen=True, slots=True)
class PerUserQuery:
    """A SELECT that counts a session once for each user, and its columns that do so."""

    select: str
    session_counts: tuple[str, ...]


def count_per_user(select: str) -> PerUserQuery | None:
    """Return the SELECT of a model in two steps, or None for one of another form.

    The form: a SELECT, or a `union all` of several, over `signal.events` alone, grouped by columns,
    whose other values are constants, `count(*)`, and distinct counts of users and sessions.
    """
    tree = sqlglot.parse_one(select, read=_DIALECT)
    parts = [tree] if isinstance(tree, exp.Select) else list(tree.find_all(exp.Select))
    unions = list(tree.find_all(exp.SetOperation))
    if len(parts) != len(unions) + 1 or any(
        not isinstance(each, exp.Union) or each.args.get("distinct") for each in unions
    ):
        return None
    counts: set[str] = set()
    for part in parts:
        found = _two_steps(part)
        if found is None:
            return None
        per_user, sessions = found
        counts |= sessions
        if part is tree:
            tree = per_user
        else:
            part.replace(per_user)
    return PerUserQuery(tree.sql(_DIALECT), tuple(sorted(counts)))


def over_table(select: str, schema: str, table: str) -> str:
    """Return the SELECT over another table, of the same columns, in place of `signal.events`."""
    tree = sqlglot.parse_one(select, read=_DIALECT)
    for each in tree.find_all(exp.Table):
        if (each.db, each.name) == ("signal", "events"):
            each.replace(exp.table_(table, db=schema))
    return tree.sql(_DIALECT)


def _two_steps(part: exp.Select) -> tuple[exp.Select, set[str]] | None:
    """Return a SELECT in two steps, and its columns of sessions; None for another form."""
    group = part.args.get("group")
    source = part.args["from_"].this
    known = {"kind", "expressions", "from_", "where", "group"}
    if (
        group is None
        or not all(isinstance(key, exp.Column) for key in group.expressions)
        or any(value for name, value in part.args.items() if name not in known)
        or not isinstance(source, exp.Table)
        or (source.db, source.name) != ("signal", "events")
        or any(column.table or column.name == _USER for column in group.find_all(exp.Column))
    ):
        return None
    keys = [key.copy() for key in group.expressions]
    outer, inner, sessions = [], [], set()
    for value in part.expressions:
        name, counted = value.alias_or_name, _counted(value.unalias())
        if counted == "":
            outer.append(value.copy())
        elif counted == _USER:
            outer.append(exp.alias_(exp.Count(this=exp.Star()), name))
        elif counted in ("*", "session_id"):
            inner.append(value.copy())
            total = exp.cast(exp.Sum(this=exp.column(name)), "bigint")
            outer.append(exp.alias_(total, name))
            if counted == "session_id":
                sessions.add(name)
        else:
            return None
    per_user = (
        exp.select(*keys, exp.column(_USER), *inner).from_(source.copy()).group_by(*keys, _USER)
    )
    per_user.set("where", part.args["where"].copy() if part.args.get("where") else None)
    return exp.select(*outer).from_(per_user.subquery("per_user")).group_by(*keys), sessions


def _counted(value: exp.Expr) -> str | None:
    """Return what a value counts: `*`, a column, "" for no aggregate, None for any other."""
    if not value.find(exp.AggFunc, exp.Window, exp.Query):
        return ""
    match value:
        case exp.Count(this=exp.Star()):
            return "*"
        case exp.Count(this=exp.Distinct(expressions=[exp.Column(this=exp.Identifier(this=name))])):
            return str(name)
    return None
