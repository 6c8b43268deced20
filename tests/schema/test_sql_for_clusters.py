"""The rules that let every statement run on a cluster too, held without one (docs/scale.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

import signal_pipeline

ROOT = Path(signal_pipeline.__file__).parent
MODELS = Path(__file__).parents[2] / "dbt_like_sql" / "models"
LARGE = {"events", "event_keys"}
SIZES = {"pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_indexes_size"}
# Asks for what is left on the coordinator itself.
ASKS_THE_COORDINATOR = "rows_left_behind"
# Plain PostgreSQL only: reports/newest_events.py takes the other query on a cluster.
PLAIN_ONLY = "newest_events_by_type"


def files() -> list[Path]:
    """Every statement of the product that is a query of its own.

    Migrations, guards and roles define things; they are not queries over the large tables.
    """
    found = [path for path in ROOT.rglob("sql/*.sql") if path.stem not in ("guards", "roles")]
    assert len(found) > 60
    return sorted([*found, *MODELS.glob("*.sql")])


def faults(text: str) -> list[str]:
    """What a statement does that a cluster refuses, or answers with a wrong number."""
    # A placeholder is a name to the parser, a query where one belongs, or nothing.
    for name in ("{counted}", "{spans}"):
        text = text.replace(name, "select day from signal.events")
    text = re.sub(r"\{(filters|fold)\}", "", text)
    text = re.sub(r"\{(\w*)\}", r"p_\1", text)
    return [
        fault
        for tree in sqlglot.parse(text.replace("%s", "null"), read="postgres")
        if tree is not None
        for fault in _faults(tree)
    ]


def _faults(tree: exp.Expr) -> Iterator[str]:
    names = {each.name.lower() for each in tree.find_all(exp.Anonymous)}
    if names & SIZES:
        yield "size function"
    for select in tree.find_all(exp.Select):
        own = {table.name for table in _own_tables(select)}
        large = own & LARGE
        if len(large) > 1 or (large and own - large):
            yield "join with a large table"
        if large and _subqueries_elsewhere(select):
            yield "subquery beside a large table"
        if large and any(select.find_all(exp.GroupingSets, exp.Rollup, exp.Cube)):
            yield "grouping sets over a large table"
    for lateral in tree.find_all(exp.Lateral):
        if any(table.name in LARGE for table in lateral.find_all(exp.Table)):
            yield "lateral over a large table"


def _own_tables(select: exp.Select) -> Iterator[exp.Table]:
    """Tables that a SELECT names itself or in a derived table of its FROM, but not in a CTE."""
    parts = [select.args.get("from_"), *(select.args.get("joins") or [])]
    for part in filter(None, parts):
        for table in part.find_all(exp.Table):
            if not table.find_ancestor(exp.CTE) or table.find_ancestor(exp.CTE) is (
                select.find_ancestor(exp.CTE)
            ):
                yield table


def _subqueries_elsewhere(select: exp.Select) -> bool:
    """Whether the target list or the condition asks another table."""
    parts = [*select.expressions, select.args.get("where"), select.args.get("having")]
    return any(
        table.name not in LARGE
        for part in filter(None, parts)
        for table in part.find_all(exp.Table)
    )


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_no_statement_does_what_a_cluster_refuses(path: Path) -> None:
    found = faults(path.read_text())
    if path.stem == ASKS_THE_COORDINATOR:
        assert found == ["size function"]
    elif path.stem == PLAIN_ONLY:
        assert "lateral over a large table" in found
    else:
        assert found == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "select d.day, count(*) from signal.days as d join signal.events as e on true group by 1",
            "join with a large table",
        ),
        (
            "with c as (select count(*) from signal.events join signal.days on true) select * from c",
            "join with a large table",
        ),
        (
            "select * from signal.events as e, signal.event_keys as k where k.day = e.created_at",
            "join with a large table",
        ),
        (
            "select d.day from signal.days as d cross join (select count(*) from signal.events) as e",
            "join with a large table",
        ),
        (
            "select count(*), (select max(day) from signal.days) from signal.events",
            "subquery beside a large table",
        ),
        (
            "select count(*) from signal.events where exists (select from signal.days)",
            "subquery beside a large table",
        ),
        (
            "select app_name, count(*) from signal.events group by grouping sets ((app_name), ())",
            "grouping sets over a large table",
        ),
        (
            "select count(*) from signal.events group by rollup (app_name)",
            "grouping sets over a large table",
        ),
        (
            "select * from signal.days as d cross join lateral"
            " (select * from signal.events where created_at >= d.day limit 1) as e",
            "lateral over a large table",
        ),
        ("select pg_total_relation_size('signal.events') > 0", "size function"),
    ],
)
def test_the_rules_find_what_breaks_them(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_the_rules_let_the_shape_pass_that_runs_on_both() -> None:
    assert not faults(
        "with counted as materialized (select count(*) as events from signal.events)"
        " select d.day, c.events from signal.days as d cross join counted as c"
    )
