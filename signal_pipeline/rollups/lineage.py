"""What a model's SQL says: its output columns and their origins, what it reads, its checksum.

The text of one SELECT is parsed with sqlglot and checked against the rules for models. It is only
analysed: engines execute the text as it is written (on a cluster, `per_user.py` rewrites it).
docs/decisions.md gives the reasons for the rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, TokenError
from sqlglot.lineage import lineage
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope

from signal_pipeline.rollups.problem import Problem

_DIALECT = "postgres"
_BINDS = {"1", "2"}
_NOT_PLAIN = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock)
_UNREPEATABLE = (
    *(exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtime, exp.Localtimestamp),
    *(exp.Rand, exp.Uuid, exp.TableSample),
)


@dataclass(frozen=True, slots=True)
class Query:
    """The facts of one SELECT over `signal.events`.

    For each output column, in order, `columns` gives the columns of the events that its value comes
    from. A constant, a bind or a count of rows has none. `kept` gives the same, but leaves out the
    columns that are only counted or compared, since the output cannot hold their values. `reads`
    are all columns of the events that the SQL touches.
    """

    columns: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, tuple[str, ...]]
    counted: frozenset[str]  # Output columns that count rows: `count(*)`.
    dependencies: tuple[str, ...]
    reads: frozenset[str]
    checksum: str


def analyse(sql: str, event_columns: Mapping[str, str]) -> Query:
    """Check a model's SQL and return its facts.

    `event_columns` maps the columns of the events to their types. Raises Problem for SQL that is
    not one SELECT over `signal.events` between the binds $1 and $2.
    """
    tree = _parse(sql)
    _check_binds(tree)
    if tree.find(exp.GroupingSets, exp.Rollup, exp.Cube):
        raise Problem("grouping sets, rollup and cube are not used: write a union all")
    if found := tree.find(*_UNREPEATABLE):
        raise Problem(f"{found.sql(_DIALECT)} gives another result at each build")
    dependencies = _dependencies(tree)
    qualified = _qualify(tree, event_columns)
    reads = _checked_reads(qualified)
    columns, counted = _lineage(qualified, event_columns)
    uncounted = _without_counts_and_conditions(qualified)
    if found := uncounted.find(exp.TableColumn):
        raise Problem(f"{found.sql(_DIALECT)} is a whole row: name the columns that are needed")
    kept, _ = _lineage(uncounted, event_columns)
    return Query(columns, kept, counted, dependencies, reads, checksum(sql))


def checksum(sql: str) -> str:
    """Return the SHA-256, in hex, of the SQL's tokens; comments and white space do not count."""
    tokens = sqlglot.tokenize(sql, read=_DIALECT)
    # The checksum is of the raw texts of the tokens, not the parsed ones: a raw text distinguishes
    # 'a' from "a", and does not change with releases of sqlglot.
    texts = (sql[token.start : token.end + 1] for token in tokens)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def check_condition(condition: str, event_columns: Mapping[str, str]) -> None:
    """Raise Problem unless `condition` is one condition on columns of the events."""
    try:
        tree = sqlglot.parse_one(f"select 1 from signal.events where {condition}", read=_DIALECT)
    except (ParseError, TokenError):
        raise Problem(f"cannot read the condition {condition!r}") from None
    _qualify(tree, event_columns)


def _parse(sql: str) -> exp.Query:
    try:
        statements = [tree for tree in sqlglot.parse(sql, read=_DIALECT) if tree is not None]
    except ParseError as error:
        first = error.errors[0]
        raise Problem(
            f"cannot read the SQL at line {first['line']}, column {first['col']}"
        ) from None
    except TokenError:
        raise Problem("cannot read the SQL: a quote or a comment is not closed") from None
    if len(statements) != 1:
        raise Problem(f"{len(statements)} statements instead of one SELECT")
    tree = statements[0]
    if not isinstance(tree, exp.Select | exp.SetOperation) or tree.find(*_NOT_PLAIN):
        raise Problem("not a SELECT")
    return normalize_identifiers(tree, _DIALECT)


def _check_binds(tree: exp.Query) -> None:
    binds = {
        node.this.name if isinstance(node, exp.Parameter) else "another kind"
        for node in tree.find_all(exp.Parameter, exp.Placeholder)
    }
    if binds != _BINDS:
        raise Problem("the binds are $1 (start of the day) and $2 (its end), both used, no others")


def _dependencies(tree: exp.Query) -> tuple[str, ...]:
    tables = {
        source.sql(_DIALECT, comments=False)
        if isinstance(source.this, exp.Func)
        else _qualified_name(source)
        for scope in traverse_scope(tree)
        for source in scope.sources.values()
        if isinstance(source, exp.Table)
    }
    for table in sorted(tables):
        if table == "events":
            raise Problem("reads events: write signal.events")
        if table != "signal.events":
            raise Problem(f"reads {table}: a model reads signal.events and nothing else")
    if not tables:
        raise Problem("does not read signal.events")
    return tuple(sorted(tables))


def _qualified_name(table: exp.Table) -> str:
    return ".".join(part.name for part in table.parts)


def _qualify(tree: exp.Expr, event_columns: Mapping[str, str]) -> exp.Expr:
    """Return the tree with every column given its table and every star written out."""
    try:
        return qualify(
            tree.copy(), schema=_schema(event_columns), dialect=_DIALECT, quote_identifiers=False
        )
    except OptimizeError as error:
        raise Problem(str(error).splitlines()[0]) from None


def _schema(event_columns: Mapping[str, str]) -> dict[str, object]:
    return {"signal": {"events": dict(event_columns)}}


def _checked_reads(tree: exp.Expr) -> frozenset[str]:
    reads: set[str] = set()
    for scope in traverse_scope(tree):
        for alias, source in scope.sources.items():
            if isinstance(source, exp.Table):
                _check_bounds(scope, alias)
                reads |= {column.name for column in scope.source_columns(alias)}
    return frozenset(reads)


def _check_bounds(scope: Scope, alias: str) -> None:
    """Raise Problem unless the day bounds this scan of the events.

    Without bounds the engines would differ: the one on PostgreSQL sees every day, and the one on
    DuckDB only this day.
    """
    where = scope.expression.args.get("where")
    conditions = where.this.flatten() if where and isinstance(where.this, exp.And) else ()
    bounds = {
        (type(condition), condition.right.name)
        for condition in conditions
        if isinstance(condition, exp.GTE | exp.LT)
        and isinstance(condition.left, exp.Column)
        and isinstance(condition.right, exp.Parameter)
        and (condition.left.table, condition.left.name) == (alias, "created_at")
    }
    if not bounds >= {(exp.GTE, "1"), (exp.LT, "2")}:
        raise Problem(
            "each read of signal.events needs `created_at >= $1 and created_at < $2` in its where"
        )


def _lineage(
    tree: exp.Expr, event_columns: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    scope = build_scope(tree)
    columns: dict[str, tuple[str, ...]] = {}
    counted: set[str] = set()
    names = tree.named_selects if isinstance(tree, exp.Query) else []
    if len(set(names)) != len(names):
        raise Problem("two output columns have the same name")
    # Only names are read here, so no copies of the tree are needed. Making them would take most of
    # the time that it takes to read a model.
    nodes = lineage(
        None,
        tree,
        _schema(event_columns),
        dialect=_DIALECT,
        scope=scope,
        trim_selects=False,
        copy=False,
    )
    for name in names:
        leaves = [leaf for leaf in nodes[name].walk() if not leaf.downstream]
        origins = {
            leaf.name.rpartition(".")[2]
            for leaf in leaves
            if isinstance(leaf.expression, exp.Table)
        }
        columns[name] = tuple(sorted(origins))
        if not origins and any(leaf.expression.find(exp.Count) for leaf in leaves):
            counted.add(name)
    return columns, frozenset(counted)


def _without_counts_and_conditions(tree: exp.Expr) -> exp.Expr:
    """Return the tree with a number in place of each count and of each condition.

    So no lineage goes through them: a count or a condition reads values, but its result holds none
    of them.
    """
    return tree.transform(
        lambda node: (
            exp.Literal.number(1) if isinstance(node, exp.Predicate) or _is_count(node) else node
        )
    )


def _is_count(node: exp.Expr) -> bool:
    """Say whether this is a count, also with a filter or a window.

    A count is `count(...)`, or a sum of a CASE whose results are all literal numbers.
    """
    if isinstance(node, exp.Filter | exp.Window):
        return _is_count(node.this)
    if isinstance(node, exp.Sum) and isinstance(node.this, exp.Case):
        results = [branch.args["true"] for branch in node.this.args["ifs"]]
        otherwise = node.this.args.get("default")
        return all(result.is_number for result in [*results, *([otherwise] if otherwise else [])])
    return isinstance(node, exp.Count)
