"""A model's SQL in a form that the workers of a cluster can compute: counts per user, then sums.

The events are placed on the workers by `user_hash`, and a session has several hashes if its address
changed. So no worker alone can count distinct sessions. Instead each worker counts the sessions of
each user, and the coordinator adds these counts up. A session of several users is then counted once
for each of them, and `postgres_engine` corrects that.
It is pure: no database.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

_DIALECT = "postgres"
_USER = "user_hash"
# Functions of one row. Any other function can be an aggregate.
_OF_ONE_ROW = (exp.Case, exp.Cast, exp.Coalesce, exp.Connector, exp.If, exp.Lower, exp.Upper)


@dataclass(frozen=True, slots=True)
class PerUserQuery:
    """A SELECT that counts a session once for each user, and the columns with these counts."""

    select: str
    session_counts: tuple[str, ...]


def count_per_user(select: str) -> PerUserQuery | None:
    """Return the SELECT of a model in two steps, or None if it does not have the form for that.

    The form is a SELECT, or a `union all` of several, over `signal.events` alone, without nested
    queries or qualified columns. Each SELECT is grouped by columns. Each of its values is made of
    these columns and constants, or is `count(*)`, or a distinct count of users or of sessions.
    """
    tree = _parse(select)
    parts = [each for each in tree.find_all(exp.Query) if isinstance(each, exp.Select)]
    others = [each for each in tree.find_all(exp.Query) if not isinstance(each, exp.Select)]
    # n SELECTs need n - 1 unions, so a nested query is one SELECT too many.
    if len(parts) != len(others) + 1 or not all(map(_is_union_all, others)):
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
    """Return a SELECT with another table in place of `signal.events`.

    The SELECT has the form that `count_per_user` requires, or is one that it returned.
    """
    tree = _parse(select)
    for each in tree.find_all(exp.Table):
        if _is_events(each):
            each.replace(exp.table_(table, db=schema))
    return tree.sql(_DIALECT)


def _parse(select: str) -> exp.Expr:
    """Return the tree, with the names as PostgreSQL reads them: in lower case if not quoted."""
    return normalize_identifiers(sqlglot.parse_one(select, read=_DIALECT), dialect=_DIALECT)


def _has_only(node: exp.Expr, names: set[str]) -> bool:
    return all(name in names for name, value in node.args.items() if value)


def _is_union_all(node: exp.Expr) -> bool:
    return isinstance(node, exp.Union) and _has_only(node, {"this", "expression"})


def _is_events(node: exp.Expr | None) -> bool:
    return (
        isinstance(node, exp.Table)
        and (node.db, node.name) == ("signal", "events")
        and _has_only(node, {"this", "db"})
    )


def _two_steps(part: exp.Select) -> tuple[exp.Select, set[str]] | None:
    """Return a SELECT in two steps, and its columns of sessions; None for another form."""
    group, source = part.args.get("group"), part.args.get("from_")
    if (
        group is None
        or not _has_only(group, {"expressions"})
        or not all(isinstance(key, exp.Column) for key in group.expressions)
        or not _has_only(part, {"kind", "expressions", "from_", "where", "group"})
        or source is None
        or not _is_events(source.this)
        or any(column.table for column in part.find_all(exp.Column))
    ):
        return None
    keys = {key.name: key for key in group.expressions}
    outer, inner, sessions = [], [], set()
    for value in part.expressions:
        name, counted = value.args.get("alias"), _counted(value.unalias())
        if counted == "":
            if not _is_of_keys(value, set(keys)):
                return None
            outer.append(value.copy())
        elif name is None or name.name in keys or _USER in (name.name, *keys):
            return None
        elif counted == _USER:
            outer.append(exp.alias_(exp.Count(this=exp.Star()), name.copy()))
        elif counted in ("*", "session_id"):
            inner.append(value.copy())
            total = exp.cast(exp.Sum(this=exp.column(name.copy())), "bigint")
            outer.append(exp.alias_(total, name.copy()))
            if counted == "session_id":
                sessions.add(name.name)
        else:
            return None
    per_user = (
        exp.select(*(key.copy() for key in keys.values()), exp.column(_USER), *inner)
        .from_(source.this.copy())
        .group_by(*(key.copy() for key in keys.values()), _USER)
    )
    per_user.set("where", part.args["where"].copy() if part.args.get("where") else None)
    by_key = exp.select(*outer).from_(per_user.subquery("per_user"))
    return by_key.group_by(*(key.copy() for key in keys.values())), sessions


def _is_of_keys(value: exp.Expr, keys: set[str]) -> bool:
    """Return whether a value without counts is the same in both steps.

    Its columns must be keys, and its functions those of one row. If it has the name of a key, it
    must be made of that key. Otherwise a name in the `group by` could stand for this value instead
    of the column of the events, as in `select lower(b) as a ... group by a`.
    """
    columns = {column.name for column in value.find_all(exp.Column)}
    functions = value.find_all(exp.Func)
    return (
        columns <= keys
        and (value.alias_or_name not in keys or value.alias_or_name in columns)
        and not value.find(exp.Star)
        and all(isinstance(function, _OF_ONE_ROW) for function in functions)
    )


def _counted(value: exp.Expr) -> str | None:
    """Return what a value counts: `*`, or the column of a distinct count.

    Return "" if the value has no aggregate, and None if it has any other.
    """
    if not value.find(exp.AggFunc, exp.Window, exp.Query):
        return ""
    match value:
        case exp.Count(this=exp.Star()):
            return "*"
        case exp.Count(this=exp.Distinct(expressions=[exp.Column(this=exp.Identifier(this=name))])):
            return str(name)
    return None
