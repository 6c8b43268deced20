"""The keys of a report.

A column's name is as good as its key's, and every interface has the same keys.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
from conftest import Fill
from support.commands import error_of, run_command
from support.days import days_ago, yesterday

from signal_pipeline.api.graphql.stats import FILTER_KEYS
from signal_pipeline.api.graphql.types import StatsFilter, StatsKey
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.dimensions import KEYS, find_keys, values_by_key
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.report_errors import QuestionError
from signal_pipeline.settings import Settings


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_known_by_its_name_and_by_its_column_however_words_are_joined(key: object) -> None:
    name, column = key.name, key.column  # type: ignore[attr-defined]
    first, *rest = column.split("_")
    camel = first + "".join(word.title() for word in rest)
    for text in (
        name,
        column,
        camel,
        name.replace("-", "_"),
        column.replace("_", "-"),
        f" {column.upper()} ",
    ):
        assert find_keys([text]) == [key]
        assert values_by_key([(text, 1)]) == {name: 1}


@pytest.mark.parametrize("text", ["", "moon", "app name", "app_name_", "users", "entity_type_id"])
def test_what_is_no_key_is_refused_and_the_keys_are_listed(text: str) -> None:
    with pytest.raises(QuestionError, match="choose from day, app, event-type, route") as refusal:
        find_keys([text])
    assert f"unknown key {text!r}" in str(refusal.value)


def test_a_key_by_two_names_is_one_key() -> None:
    assert [key.name for key in find_keys(["app_name", "route", "app"])] == ["app", "route"]
    with pytest.raises(QuestionError, match="app is filtered twice"):
        values_by_key([("app", "cms"), ("app_name", "videos-admin")])


def test_the_wire_has_the_same_keys() -> None:
    assert {key.value for key in StatsKey} == set(KEYS)
    assert {field.name for field in dataclasses.fields(StatsFilter)} == set(FILTER_KEYS)
    assert set(FILTER_KEYS.values()) == set(KEYS) - {"day"}


@pytest.mark.embedded_only
def test_a_column_that_a_table_shows_can_be_filtered_and_grouped_by(
    database: Database, connection: Connection, fill: Fill
) -> None:
    fill(yesterday(), 60)
    for key in KEYS.values():
        report = raw_report(database, [key.column], {}, yesterday(), yesterday())
        assert report.columns[0] == key.column
        first = report.rows.records[0]
        (same,) = raw_report(
            database, [key.name], {key.column: str(first[key.column])}, yesterday(), yesterday()
        ).rows.records
        assert same == first


@pytest.mark.embedded_only
def test_the_command_takes_columns_and_names_what_it_does_not_know(
    environment: Settings, fill: Fill, tmp_path: Path
) -> None:
    fill(yesterday(), 60)
    ask = partial(
        run_command,
        "report",
        "--from",
        yesterday(),
        "--to",
        yesterday(),
        "--format",
        "json",
        cwd=tmp_path,
    )
    rows = json.loads(ask("--group-by", "app_name,eventType", "--where", "app_name=cms").stdout)
    assert rows == json.loads(ask("--group-by", "app, event-type", "--app", "cms").stdout)
    assert {row["app_name"] for row in rows} == {"cms"}
    for wrong, says in [
        (("--group-by", "app_names"), "unknown key 'app_names': choose from day, app, "),
        (("--group-by", "app", "--where", "moon=1"), "unknown key 'moon': choose from day, app, "),
        (("--group-by", "app", "--where", "app_name=cms", "--app", "cms"), "app is filtered twice"),
        (("--group-by", "app", "--where", "app_name=cmss"), "no app 'cmss': choose from"),
        (
            ("--group-by", "app", "--where", f"activity_date={days_ago(2)}"),
            "lies outside the window",
        ),
    ]:
        done = ask(*wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in error_of(done.stderr)
