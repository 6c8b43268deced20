"""`signal-pipeline catalogue`: the table with what the rollups know, and the client's types."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml
from conftest import START_DATE, Fill, settings_for
from hypothesis import given
from hypothesis import strategies as st
from support.days import days_ago, today
from support.traffic import line
from typer.testing import CliRunner

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE, EventType, load_catalogue
from signal_pipeline.catalogue.typescript import typescript_types
from signal_pipeline.cli.commands import app
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.reports import event_type_usage
from signal_pipeline.reports.event_type_usage import LONG_DEAD_DAYS, TypeUse, Usage, read_usage
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

KINDS = load_catalogue().event_types


def put(
    connection: Connection, day: date, event_type: str, events: int, app_name: str = "cms"
) -> None:
    """Insert one row of the rollup, as a build would."""
    connection.execute("select signal.ensure_day(%s)", [day])
    connection.execute(
        "insert into signal.daily_app_activity values (%s, %s, %s, %s, 1, 1)",
        [day, app_name, event_type, events],
    )


def know_days(connection: Connection, newest: date) -> None:
    """Let each day of the last three months up to `newest` be known, with events or without."""
    for age in range((today() - newest).days, LONG_DEAD_DAYS + 1):
        connection.execute("select signal.ensure_day(%s)", [days_ago(age)])


def run(*arguments: str) -> tuple[str, str]:
    """The command's stdout and stderr."""
    done = CliRunner().invoke(app, ["catalogue", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr


def test_counts_and_last_days_are_those_of_the_rollup(
    settings: Settings, connection: Connection
) -> None:
    long_dead = days_ago(LONG_DEAD_DAYS + 1)
    just_alive = days_ago(LONG_DEAD_DAYS)
    put(connection, long_dead, "journey_create_clicked", 3)
    put(connection, just_alive, "journey_create_clicked", 4)
    put(connection, just_alive, "journey_create_clicked", 5, app_name="journeys-admin")
    put(connection, just_alive, "(all)", 9)
    put(connection, long_dead, "journey_create_from_template", 7)
    know_days(connection, days_ago(1))
    usage = read_usage(settings)
    assert usage.seen == {
        "journey_create_clicked": TypeUse(12, just_alive),
        "journey_create_from_template": TypeUse(7, long_dead),
    }
    states = {name: usage.state(kind, today()) for name, kind in KINDS.items()}
    assert states.pop("journey_create_clicked") == "in use"
    assert states.pop("journey_create_from_template") == "long dead"
    assert set(states.values()) == {"never seen"}


def test_events_that_no_build_has_seen_are_said_to_be_left_out(
    settings: Settings, fill: Fill
) -> None:
    assert read_usage(settings).notes == []
    yesterday = days_ago(1)
    fill(yesterday, 5)
    usage = read_usage(settings)
    assert usage.seen == {}
    assert usage.notes == [
        f"daily_app_activity is not fresh on 1 day(s), the last {yesterday}: some of their"
        " events can be missing here"
    ]


def test_a_type_whose_events_no_build_has_seen_is_in_use(
    environment: Settings, connection: Connection, ingest: Ingest
) -> None:
    put(connection, days_ago(LONG_DEAD_DAYS + 1), "journey_create_clicked", 3)
    know_days(connection, days_ago(1))
    again, new = "journey_create_clicked", "journey_create_from_template"
    ingest.ingest_lines([line(eventType=kind) for kind in (again, new)])
    usage = read_usage(environment)
    assert usage.seen == {again: TypeUse(3, days_ago(LONG_DEAD_DAYS + 1))}
    assert {usage.state(KINDS[kind], today()) for kind in (again, new)} == {"in use"}
    table, _ = run()
    (never_seen,) = [text for text in table.splitlines() if text.startswith("never seen:")]
    assert new not in never_seen and again not in never_seen


def test_a_type_whose_events_are_all_dropped_is_not_called_never_seen(
    environment: Settings, connection: Connection, ingest: Ingest
) -> None:
    dead, new, bots = list(KINDS)[:3]
    put(connection, days_ago(LONG_DEAD_DAYS + 1), dead, 3)
    know_days(connection, days_ago(1))
    wrong = {"entityType": "journey", "entityId": "7"}
    ingest.ingest_lines(
        [
            line(eventType=dead, **wrong),
            line(eventType=new, **wrong),
            line(eventType=bots, userAgent="curl/8.0"),
        ]
    )
    usage = read_usage(environment)
    states = [usage.state(KINDS[kind], today()) for kind in (dead, new, bots)]
    assert states == ["dropped", "dropped", "never seen"]
    table, notes = run()
    (never_seen,) = [text for text in table.splitlines() if text.startswith("never seen:")]
    assert bots in never_seen and new not in never_seen
    assert f"note: events of {dead}, {new} arrive, but all of them are dropped" in notes


def test_no_type_is_called_dead_while_some_of_the_last_days_are_unknown(
    environment: Settings, connection: Connection
) -> None:
    """No event came and no run built them, as if Signal had been off."""
    put(connection, days_ago(LONG_DEAD_DAYS + 1), "journey_create_clicked", 3)
    put(connection, today(), "editor_helpscout_overlay_opened", 2)
    know_days(connection, days_ago(3))
    table, notes = run()
    rows = {text.split()[0]: text for text in table.splitlines() if text.strip()}
    row = rows["journey_create_clicked"]
    assert "not known" in row and "long dead" not in row
    assert "long dead: not known" in table.splitlines()
    assert (
        "note: 2 day(s) were never built, so it is not known which event types are long dead:"
        f" {days_ago(2)} to {days_ago(1)}"
    ) in notes.splitlines()


def test_without_the_rollup_of_apps_nothing_is_known(
    settings: Settings, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = models.only(name for name in models if name != "daily_app_activity")
    monkeypatch.setattr(event_type_usage, "load_models", lambda: others)
    usage = read_usage(settings)
    assert (usage.seen, usage.notes) == (
        None,
        ["there is no model of daily_app_activity, so it is not known which event types are used"],
    )


def test_a_retired_type_is_neither_never_seen_nor_dead() -> None:
    kind = EventType("gone", "team:x", "p", "f", None, False, None, True)
    assert Usage({}).state(kind, today()) == "retired"
    assert Usage({"gone": TypeUse(1, START_DATE)}).state(kind, today()) == "retired"


def test_without_a_database_the_table_says_so_and_makes_none(tmp_path: Path) -> None:
    usage = read_usage(Settings(_env_file=None, home=tmp_path / "home"))  # type: ignore[call-arg]
    assert usage.seen is None
    assert "there is no database yet" in usage.notes[0]
    assert list(tmp_path.iterdir()) == []
    assert usage.state(KINDS["journey_create_clicked"], today()) == "not known"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("postgres", "run `signal-pipeline migrate`"),
        ("no_such_database", "cannot reach PostgreSQL"),
    ],
)
def test_a_database_that_cannot_answer_is_named(
    server: str, tmp_path: Path, name: str, says: str
) -> None:
    usage = read_usage(settings_for(with_database(server, name), tmp_path))
    assert usage.seen is None
    assert says in usage.notes[0]


def test_the_table_lists_every_type_and_the_unused_ones(
    environment: Settings, connection: Connection
) -> None:
    old = days_ago(LONG_DEAD_DAYS + 1)
    put(connection, old, "journey_create_clicked", 1234)
    put(connection, today(), "editor_helpscout_overlay_opened", 2)
    know_days(connection, days_ago(1))
    table, _ = run()
    rows = {line.split()[0]: line for line in table.splitlines() if line.strip()}
    assert set(KINDS) <= set(rows)
    assert all(part in rows["journey_create_clicked"] for part in ("long dead", "1,234", str(old)))
    assert "in use" in rows["editor_helpscout_overlay_opened"]
    last = table.splitlines()
    unused = [
        name
        for name in KINDS
        if name not in ("journey_create_clicked", "editor_helpscout_overlay_opened")
    ]
    assert f"never seen: {', '.join(unused)}" in last
    assert "long dead: journey_create_clicked" in last


def test_the_types_need_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_type_usage, "open_database", None)
    assert run("--typescript") == (typescript_types(load_catalogue()), "")


def catalogue_of(
    tmp_path: Path, change: Callable[[dict[str, dict[str, dict[str, object]]]], None]
) -> str:
    content = yaml.safe_load(PACKAGED_CATALOGUE.read_text())
    change(content)
    path = tmp_path / "catalogue.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return typescript_types(load_catalogue(path))


def test_what_is_retired_leaves_the_types(tmp_path: Path) -> None:
    def retire(content: dict[str, dict[str, dict[str, object]]]) -> None:
        content["apps"]["cms"]["retired"] = True
        content["entity_types"]["template"]["retired"] = True
        content["event_types"]["journey_create_clicked"]["retired"] = True

    types = catalogue_of(tmp_path, retire)
    assert 'AppName = "journeys-admin" | "videos-admin";' in types
    assert 'EntityType = "journey" | "video";' in types
    assert "journey_create_clicked" not in types
    assert "journey_create_from_template: { entity?: never; description?: never };" in types


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object"}, "description?: { readonly [key: string]: unknown }"),
        (
            {
                "type": "object",
                "properties": {"a-b": {"type": "integer"}, "c": {"enum": ["x", 1, None]}},
            },
            'description?: { readonly "a-b"?: number; readonly c?: "x" | 1 | null }',
        ),
        (
            {
                "type": "object",
                "required": ["list"],
                "properties": {
                    "list": {"type": "array", "items": {"type": ["string", "null"]}},
                    "deep": {"type": "object", "properties": {"const": {"const": True}}},
                    "any": {"pattern": "x"},
                },
            },
            (
                "description: { readonly list: readonly (string | null)[];"
                " readonly deep?: { readonly const?: true }; readonly any?: unknown }"
            ),
        ),
    ],
)
def test_a_schema_becomes_a_type(tmp_path: Path, schema: dict[str, object], expected: str) -> None:
    types = catalogue_of(
        tmp_path,
        lambda content: content["event_types"]["journey_create_clicked"].update(
            description_schema=schema
        ),
    )
    assert f"journey_create_clicked: {{ entity?: never; {expected} }};" in types


@given(st.text(st.characters(codec=None, exclude_categories=[]), min_size=1).filter(str.strip))
def test_no_text_of_the_catalogue_leaves_its_comment(text: str) -> None:
    kind = EventType("a", "team:x", text, "f", None, False, None, False)
    catalogue = load_catalogue()
    types = typescript_types(
        type(catalogue)(1, catalogue.apps, {"a": kind}, catalogue.entity_types, {})
    )
    before, comment = types.split("export interface EventFields {\n  /**")
    inside, after = comment.split("*/", 1)
    assert (
        inside.isprintable()
    )  # No line break, and no character that shows code in another order than it runs.
    assert after.startswith("\n  a: {")
    assert json.dumps("journey") in before
