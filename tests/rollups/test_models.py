"""The loader: what it reads from the files, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from signal_pipeline.events.browsers import BROWSER_FAMILIES, OS_FAMILIES
from signal_pipeline.events.devices import DEVICE_TYPES
from signal_pipeline.rollups.declared_tests import AcceptedValues, NotNull, ReconcilesWith
from signal_pipeline.rollups.lineage import checksum
from signal_pipeline.rollups.models import ModelError, load_models

AddRollup = Callable[..., None]

DIMENSIONS = {
    "daily_app_activity": (),
    "daily_device_activity": ("device_type",),
    "daily_route_activity": ("route",),
    "daily_entity_activity": ("entity_type", "entity_id"),
    "daily_browser_activity": ("browser_family",),
    "daily_os_activity": ("os_family",),
}
# Requirement 1.
EVENT_COLUMNS = {
    "id": "uuid",
    "created_at": "timestamptz",
    "app_name": "text",
    "event_type": "text",
    "route": "text",
    "entity_type": "text",
    "entity_id": "text",
    "user_hash": "bytea",
    "session_id": "uuid",
    "device_type": "text",
    "browser_family": "text",
    "os_family": "text",
    "client_event_id": "uuid",
    "description": "jsonb",
}
START = "cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date"
WHERE = "from signal.events where created_at >= $1 and created_at < $2"


def test_our_own_models_have_the_agreed_columns() -> None:
    models = load_models()
    assert {name: model.dimensions for name, model in models.items()} == DIMENSIONS
    for name, model in models.items():
        common = ["activity_date", "app_name", "event_type"]
        assert list(model.columns) == [*common, *DIMENSIONS[name], "events", "users", "sessions"]
        assert model.grain == (*common, *DIMENSIONS[name])
        assert model.dependencies == ("signal.events",)
        assert not any(column.nullable for column in model.columns.values())


def test_every_rollup_but_the_entities_covers_all_events() -> None:
    models = load_models().values()
    assert [m.name for m in models if not m.covers_all_events] == ["daily_entity_activity"]
    entity = load_models()["daily_entity_activity"]
    assert ReconcilesWith(to="events", where="entity_id is not null") in entity.tests


def test_accepted_values_are_the_closed_lists_of_the_user_agents() -> None:
    models = load_models()
    for rollup, column, values in (
        ("daily_device_activity", "device_type", DEVICE_TYPES),
        ("daily_browser_activity", "browser_family", BROWSER_FAMILIES),
        ("daily_os_activity", "os_family", OS_FAMILIES),
    ):
        tests = models[rollup].columns[column].tests
        assert tests == (NotNull(), AcceptedValues(values=tuple(values)))


def test_event_types_are_those_of_the_catalogue_and_all() -> None:
    for model in load_models().values():
        tests = model.columns["event_type"].tests
        assert AcceptedValues(values=("(all)",), catalogue="event_types") in tests


def test_sources_declare_the_event(add_rollup: AddRollup, folder: Path) -> None:
    names = ", ".join(f"count({name}) as n_{name}" for name in EVENT_COLUMNS)
    columns = "".join(
        f"      - {{name: n_{name}, data_type: bigint, description: A count.}}\n"
        for name in EVENT_COLUMNS
    )
    add_rollup("wide", names, "", columns.rstrip(), "activity_date, app_name, event_type")
    reads = {column.name: column.data_type for column in load_models(folder)["wide"].reads}
    assert reads == EVENT_COLUMNS


def test_reads_are_what_the_sql_touches() -> None:
    reads = {column.name for column in load_models()["daily_entity_activity"].reads}
    assert reads == {
        *("created_at", "app_name", "event_type", "entity_type", "entity_id"),
        *("user_hash", "session_id"),
    }


def test_columns_say_where_they_come_from() -> None:
    columns = load_models()["daily_route_activity"].columns
    assert {name: column.origin for name, column in columns.items()} == {
        "activity_date": "from the day of the build",
        "app_name": "from `events.app_name`",
        "event_type": "from `events.event_type`",
        "route": "from `events.route`",
        "events": "from `events` rows",
        "users": "from `events.user_hash`",
        "sessions": "from `events.session_id`",
    }
    assert columns["events"].described == "How many events. (from `events` rows)"


def test_lineage_goes_through_common_table_expressions(folder: Path) -> None:
    path = folder / "models/daily_app_activity.sql"
    path.write_text(
        f"""with day as (select *, case when route is null then os_family end as x {WHERE})
        select {START}, app_name, min(x) as event_type, count(*) as events,
            count(distinct user_hash) as users, count(distinct session_id) as sessions
        from day group by app_name"""
    )
    column = load_models(folder)["daily_app_activity"].columns["event_type"]
    assert column.source_columns == ("os_family", "route")
    assert load_models(folder)["daily_app_activity"].dependencies == ("signal.events",)


def test_the_checksum_is_over_tokens() -> None:
    written = "select a, 'b c' from t where x >= $1"
    same = "-- Why.\nselect a,\n  'b c' /* d */ from t\nwhere x>=$1"
    assert checksum(written) == checksum(same)
    for other in ("select a, 'b  c' from t where x >= $1", 'select a, "b c" from t where x >= $1'):
        assert checksum(other) != checksum(written)


def test_the_checksum_of_a_model_ignores_comments(folder: Path) -> None:
    before = load_models(folder)["daily_app_activity"].checksum
    path = folder / "models/daily_app_activity.sql"
    path.write_text("-- Another comment.\n" + path.read_text())
    assert load_models(folder)["daily_app_activity"].checksum == before
    path.write_text(path.read_text().replace("count(*)", "count(*) + 1"))
    assert load_models(folder)["daily_app_activity"].checksum != before


def test_a_rollup_is_one_file_and_one_entry(add_rollup: AddRollup, folder: Path) -> None:
    add_rollup(
        "daily_language_activity",
        "coalesce(description ->> 'language', '(none)') as language",
        "coalesce(description ->> 'language', '(none)')",
        "      - {name: language, data_type: text, description: Picked., data_tests: [not_null]}",
        "activity_date, app_name, event_type, language",
    )
    models = load_models(folder)
    assert list(models) == [*DIMENSIONS, "daily_language_activity"]
    model = models["daily_language_activity"]
    assert model.dimensions == ("language",)
    assert model.columns["language"].source_columns == ("description",)
    assert not model.covers_all_events


def test_our_sql_is_written_alike() -> None:
    for model in load_models().values():
        code = re.sub(r"--[^\n]*|'[^']*'", "", model.select)
        assert code == code.lower()
        assert max(map(len, model.select.splitlines())) <= 80


BROKEN_SQL = {
    "": "0 statements",
    "select 1; select 2": "2 statements",
    "select 'a": "cannot read the SQL: a quote or a comment is not closed",
    "select from where": "cannot read the SQL at line 1",
    "delete from signal.events": "not a SELECT",
    f"with gone as (delete from signal.events returning id) select {START} {WHERE}": "not a SELECT",
    f"select {START} into other {WHERE}": "not a SELECT",
    f"select {START} {WHERE} for update": "not a SELECT",
    f"select {START} from signal.events where created_at >= $1": "binds are $1",
    f"select {START}, $3 as app_name {WHERE}": "binds are $1",
    f"select {START}, %s as app_name {WHERE}": "binds are $1",
    f"select {START}, :day as app_name {WHERE}": "binds are $1",
    f"select app_name, {START} {WHERE}": "the first column is app_name, not activity_date",
    f"select {WHERE}": "the first column is none, not activity_date",
    f"select {START}, event_type {WHERE}": "column 2 is event_type, but schema.yml has app_name",
    f"select {START}, app_name {WHERE}": "column event_type of schema.yml is not selected",
    f"select {START}, app_name, event_type, 1 as events, 1 as users, 1 as sessions, 1 as more {WHERE}": (
        "column more is not in schema.yml"
    ),
    f"select {START}, app_name, app_name {WHERE}": "two output columns have the same name",
    f"select {START}, app_name {WHERE} group by grouping sets ((app_name), ())": "grouping sets",
    f"select {START}, app_name {WHERE} group by rollup (app_name)": "grouping sets",
    f"select {START}, app_name {WHERE} group by cube (app_name)": "grouping sets",
    f"select {START}, nothing {WHERE}": "Column 'nothing' could not be resolved",
    f"select {START} {WHERE.replace('signal.', '')}": "reads events: write signal.events",
    f"select {START} {WHERE.replace('events', 'days')}": "reads signal.days",
    f"select {START} {WHERE.replace('signal.events', 'other.signal.events')}": "reads other.signal",
    f"select {START} from read_csv('x') where $1 < $2": "reads READ_CSV('x')",
    f"select {START} where $1 < $2": "does not read signal.events",
    f"select {START} {WHERE.replace(' and ', ' or ')}": "each read of signal.events needs",
    f"select {START} {WHERE.replace('>=', '>')}": "each read of signal.events needs",
    f"select {START} {WHERE} union all select {START} from signal.events": "each read of",
    f"select {START} {WHERE} and exists (select from signal.events)": "each read of",
    f"select {START}, now() as app_name {WHERE}": "gives another result at each build",
    f"select {START}, random() as app_name {WHERE}": "gives another result at each build",
}


@pytest.mark.parametrize(("sql", "problem"), BROKEN_SQL.items())
def test_broken_sql_is_refused_by_its_file(folder: Path, sql: str, problem: str) -> None:
    (folder / "models/daily_app_activity.sql").write_text(sql)
    _assert_refused(folder, "models/daily_app_activity.sql: ", problem)


# Each case: a text of schema.yml, its replacement, and the loader's answer.
BROKEN_YML = [
    (
        "    owner: team:signal\n",
        "    owner: a\n    owner: b\n",
        "line {next}: the key 'owner' is there",
    ),
    (
        "    owner: team:signal\n",
        "    owner: 7\n",
        "line {line}: daily_app_activity: 'owner' must be a te",
    ),
    ("    owner: team:signal\n", "    ownr: 7\n", "line {line}: daily_app_activity:"),
    ("    owner: team:signal", "    ownr: team:signal", "daily_app_activity: unknown 'ownr'"),
    ("    owner: team:signal\n", "", "daily_app_activity: 'owner' is missing"),
    ("owner: team:signal", "owner: Signal", "daily_app_activity: the owner 'Signal' is neither"),
    ("One row per activity_date, app_name and", "Per", "daily_app_activity: the description does"),
    ("data_type: bigint", "data_type: number", "column events has the type 'number'"),
    ("data_type: date", "data_type: text", "daily_app_activity: activity_date is not a date"),
    ("[not_null]", "[not_nul]", "column events: unknown test 'not_nul'"),
    (
        "[not_null]",
        "[{not_null: {arguments: {a: 1}}}]",
        "column events: test not_null: unknown 'a'",
    ),
    (
        "catalogue: apps",
        "catalogue: app",
        "column app_name: test accepted_values: 'catalogue': invalid enum",
    ),
    ("'days')", "'weeks')", "daily_app_activity: a test names weeks"),
    ("field: day", "field: date", "daily_app_activity: a test names the column date"),
    ("- dbt_utils.unique", "- uniq", "daily_app_activity: model: unknown test 'uniq_combination"),
    (
        "source('signal', 'days')",
        "days",
        "daily_app_activity: relationships: to is 'days'; write ref",
    ),
    (
        "{arguments: {catalogue: apps}}",
        "{catalogue: apps}",
        "test accepted_values: unknown 'catalog",
    ),
    (
        "      - dbt_utils.unique_combination_of_columns:\n          arguments:\n"
        "            combination_of_columns: [activity_date, app_name, event_type]\n",
        "",
        "needs one test `dbt_utils.unique_combination_of_columns`",
    ),
    ("[activity_date, app_name, event_type]", "[activity_date]", "app_name is not in the grain"),
    (
        "app_name, event_type]\n",
        "app_name, event_type, x]\n",
        "columns names x, which is not a col",
    ),
    ("to: events}", "to: event}", "daily_app_activity: a test names event, which is neither"),
    ("to: events}", "to: days}", "reconciles_with: `to` is events or another rollup, not days"),
    ("to: events}", "to: daily_app_activity}", "or another rollup, not daily_app_activity"),
    ("to: events}", "to: daily_os_activity, by: [activity_date]}", "`by` names a column twice"),
    ("to: events}", "to: events, by: [app_name, app_name]}", "`by` names a column twice"),
    ("to: events}", "to: events, where: nothing > 1}", "Column 'nothing' could not be resolved"),
    ("to: events}", "to: events, where: 'a and'}", "cannot read the condition 'a and'"),
    (
        "      - reconciles_with: {arguments: {to: events}}\n",
        "      - reconciles_with: {arguments: {to: events}}\n"
        "      - reconciles_with: {arguments: {to: events, where: route is not null}}\n",
        "daily_app_activity: two tests would be the one check reconciles_with_events",
    ),
    (
        "[not_null]",
        "[not_null, {accepted_values: {arguments: {values: [a]}}},"
        " {accepted_values: {arguments: {values: [b]}}}]",
        "daily_app_activity: the column events has two tests accepted_values",
    ),
    ("by: [app_name,", "by: [app,", "daily_device_activity: a test names the column app"),
    ("- name: daily_os_activity", "- name: daily_app_activity", "daily_app_activity has two entr"),
    ("- name: daily_os_activity", "- name: Daily", "the name 'Daily' is not lower case"),
    ("- name: daily_os_activity", "- name: daily_new", "models/daily_os_activity.sql has no entry"),
    ("name: os_family", "name: app_name", "daily_os_activity: the column app_name has two entries"),
    ("version: 2", "version: 1", "invalid enum value"),
    ("models:", "models: {", "is not valid YAML"),
]


@pytest.mark.parametrize(("written", "instead", "problem"), BROKEN_YML)
def test_a_broken_entry_is_refused(folder: Path, written: str, instead: str, problem: str) -> None:
    path = folder / "schema.yml"
    before, found, after = path.read_text().partition(written)
    assert found
    path.write_text(before + instead + after)
    line = before.count("\n") + 1
    _assert_refused(folder, "schema.yml: ", problem.format(line=line, next=line + 1))


def test_a_grain_column_must_be_not_null(folder: Path) -> None:
    path = folder / "schema.yml"
    text = path.read_text()
    assert text.count("data_tests: [not_null]\n      - *events") == 1 + 1  # route and entity_id
    path.write_text(
        text.replace("data_tests: [not_null]\n      - *events", "data_tests: []\n      - *events")
    )
    _assert_refused(
        folder, "schema.yml: line 99: daily_route_activity: route is in the grain and needs"
    )


def test_an_entry_needs_its_file(folder: Path) -> None:
    (folder / "models/daily_os_activity.sql").unlink()
    _assert_refused(
        folder, "schema.yml: daily_os_activity has no file models/daily_os_activity.sql"
    )


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "schema.yml").unlink()
    _assert_refused(folder, "schema.yml: the file is missing")
    _assert_refused(tmp_path / "nowhere", "sources.yml: the file is missing")


def test_a_source_of_an_unknown_type_is_refused(folder: Path) -> None:
    path = folder / "sources.yml"
    path.write_text(path.read_text().replace("data_type: jsonb", "data_type: xml"))
    _assert_refused(folder, "sources.yml: line 8: events: column description has the type 'xml'")


def _assert_refused(folder: Path, *texts: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_models(folder)
    message = str(caught.value)
    assert message.startswith(texts[0])
    assert all(text in message for text in texts)
    assert "\n" not in message
