"""The packaged catalogue against requirement 5, and every way a file can be wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signal_pipeline.catalogue.load import (
    PACKAGED_CATALOGUE,
    App,
    CatalogueError,
    EntityType,
    EventType,
    load_catalogue,
)

EVENT_TYPES = {
    "journey_create_clicked": None,
    "journey_create_from_template": "template",
    "editor_analytics_overlay_opened": "journey",
    "editor_strategy_overlay_opened": "journey",
    "editor_helpscout_overlay_opened": "journey",
    "editor_social_preview_overlay_opened": "journey",
    "ai_translation_language_picked": "journey",
}


def minimal() -> dict[str, Any]:
    return {
        "version": 1,
        "id_formats": {"number": "[0-9]+"},
        "entity_types": {"page": {"id_format": "number"}},
        "apps": {"shop-admin": {"host": "shop.example.org"}},
        "event_types": {
            "page_opened": {
                "owner": "team:shop",
                "purpose": "Whether pages are opened.",
                "fires_when": "A page opens.",
                "entity": "page",
            }
        },
    }


def write(folder: Path, content: object) -> Path:
    path = folder / "mine.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def error_of(path: Path) -> str:
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    return message


def test_the_packaged_catalogue_is_version_1_of_the_requirement() -> None:
    catalogue = load_catalogue()
    assert catalogue.version == 1
    # Entries are added, and none is ever deleted.
    assert {name: catalogue.event_types[name].entity for name in EVENT_TYPES} == EVENT_TYPES
    assert set(catalogue.apps) == {"journeys-admin", "videos-admin", "cms"}
    assert set(catalogue.entity_types) == {"journey", "video", "template"}
    assert {kind.id_format for kind in catalogue.entity_types.values()} == {"uuid"}
    optional = {name for name in EVENT_TYPES if not catalogue.event_types[name].entity_required}
    assert optional == {
        "journey_create_clicked",
        "editor_helpscout_overlay_opened",
    }
    assert not any(app.retired for app in catalogue.apps.values())


def test_the_packaged_uuid_format_takes_lower_case_uuids_only() -> None:
    uuid = re.compile(load_catalogue().id_formats["uuid"])
    assert uuid.fullmatch("550e8400-e29b-41d4-a716-446655440000")
    for bad in ("550E8400-E29B-41D4-A716-446655440000", "550e8400e29b41d4a716446655440000", "7"):
        assert not uuid.fullmatch(bad)


def test_the_packaged_description_schema_is_the_requirements() -> None:
    kinds = load_catalogue().event_types
    with_schema = {name for name in EVENT_TYPES if kinds[name].description_schema}
    assert with_schema == {"ai_translation_language_picked"}
    check = fastjsonschema.compile(
        dict(kinds["ai_translation_language_picked"].description_schema or {})
    )
    check({"language": "ü" * 64})
    check({"language": "French", "unknown": [1]})
    wrong: list[object] = [{}, {"language": "x" * 65}, {"language": 7}, {"Language": "x"}, []]
    for bad in wrong:
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            check(bad)


def test_a_file_gives_what_it_says(tmp_path: Path) -> None:
    content = minimal()
    content["event_types"]["page_left"] = {
        "owner": "team:shop",
        "purpose": "p",
        "fires_when": "f",
        "description_schema": {"type": "object"},
        "retired": True,
    }
    content["apps"]["old"] = {"host": "localhost", "retired": True}
    catalogue = load_catalogue(write(tmp_path, content))
    assert list(catalogue.event_types.values()) == [
        EventType(
            *("page_opened", "team:shop", "Whether pages are opened.", "A page opens."),
            *("page", True, None, False),
        ),
        EventType("page_left", "team:shop", "p", "f", None, False, {"type": "object"}, True),
    ]
    assert catalogue.apps["shop-admin"] == App("shop-admin", "shop.example.org", False)
    assert catalogue.apps["old"].retired
    assert catalogue.entity_types == {"page": EntityType("page", "number", False)}


def test_sections_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        load_catalogue().apps["x"] = App("x", "x", False)  # type: ignore[index]


DELETE = object()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        # missing
        ("version", DELETE, "'version' is missing"),
        ("id_formats", DELETE, "'id_formats' is missing"),
        ("entity_types", DELETE, "'entity_types' is missing"),
        ("apps", DELETE, "'apps' is missing"),
        ("event_types", DELETE, "'event_types' is missing"),
        ("apps/shop-admin/host", DELETE, "apps.shop-admin: 'host' is missing"),
        ("entity_types/page/id_format", DELETE, "entity_types.page: 'id_format' is missing"),
        ("event_types/page_opened/owner", DELETE, "event_types.page_opened: 'owner' is missing"),
        ("event_types/page_opened/purpose", DELETE, "page_opened: 'purpose' is missing"),
        ("event_types/page_opened/fires_when", DELETE, "page_opened: 'fires_when' is missing"),
        # unknown
        ("colour", 1, "unknown 'colour'"),
        ("apps/shop-admin/hosts", "x", "apps.shop-admin: unknown 'hosts'"),
        ("entity_types/page/format", "x", "entity_types.page: unknown 'format'"),
        ("event_types/page_opened/enity", "x", "event_types.page_opened: unknown 'enity'"),
        ("event_types/page_opened/7", "x", "event_types.page_opened: unknown '7'"),
        # wrong type or blank
        ("version", "1", "'version'"),
        ("version", True, "'version'"),
        ("version", 0, "version is 0"),
        ("apps", ["shop-admin"], "'apps'"),
        ("apps/shop-admin", "shop.example.org", "apps.shop-admin"),
        ("apps/shop-admin/host", 7, "apps.shop-admin: 'host'"),
        ("apps/shop-admin/retired", "yes", "apps.shop-admin: 'retired'"),
        ("event_types/page_opened", None, "event_types.page_opened"),
        ("event_types/page_opened/purpose", " ", "event_types.page_opened: 'purpose' is empty"),
        ("event_types/page_opened/entity_required", 1, "page_opened: 'entity_required'"),
        ("event_types/page_opened/description_schema", "{}", "page_opened: 'description_schema'"),
        # wrong value
        ("apps/shop-admin/host", "Shop.example.org", "apps.shop-admin: host"),
        ("apps/shop-admin/host", "shop.example.org:80", "apps.shop-admin: host"),
        ("apps/shop-admin/host", "shop.example.org.", "apps.shop-admin: host"),
        ("apps/shop-admin/host", "https://shop", "apps.shop-admin: host"),
        ("apps/shop-admin/host", "a\x1fb", "apps.shop-admin: host"),
        ("apps/shop-admin/host", "a." * 127 + "ab", "apps.shop-admin: host"),
        ("event_types/page_opened/owner", "jane@example.org", "event_types.page_opened: owner"),
        ("event_types/page_opened/owner", "team:", "event_types.page_opened: owner"),
        ("event_types/page_opened/entity", "pge", "page_opened: entity 'pge'"),
        ("entity_types/page/id_format", "uuid", "entity_types.page: id_format 'uuid'"),
        ("id_formats/number", "[0-9", "id_formats.number is not a valid regular expression"),
        ("id_formats/number", "[0-9]*", "id_formats.number matches an empty id"),
        ("id_formats/number", 7, "id_formats.number"),
    ],
)
def test_each_mistake_names_file_and_entry(
    tmp_path: Path, path: str, value: object, named: str
) -> None:
    content = minimal()
    *parents, key = path.split("/")
    entry = content
    for parent in parents:
        entry = entry[parent]
    if value is DELETE:
        del entry[key]
    else:
        entry[key] = value
    assert named in error_of(write(tmp_path, content))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "objekt"},
        {"type": "object", "required": "language"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": 3}},
        {"type": "object", "properties": {"a": {"maxLength": "x"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
    ],
)
def test_an_unusable_schema_names_its_event_type(tmp_path: Path, schema: object) -> None:
    content = minimal()
    content["event_types"]["page_opened"]["description_schema"] = schema
    assert "event_types.page_opened: description_schema" in error_of(write(tmp_path, content))


@pytest.mark.parametrize(
    ("since", "named"),
    [
        (
            "{enum: [2026-02-01, 2026-01-01]}",
            "description_schema.properties.since.enum[0] is a date",
        ),
        (
            "{const: 2026-01-01T00:00:00Z}",
            "description_schema.properties.since.const is a datetime",
        ),
        ("{const: !!binary eA==}", "description_schema.properties.since.const is a bytes"),
        ("{maximum: .inf}", "description_schema.properties.since.maximum is inf"),
        ("{properties: {7: {}}}", "the key 7 in description_schema.properties.since.properties"),
    ],
)
def test_a_schema_that_json_cannot_hold_names_the_place(
    tmp_path: Path, since: str, named: str
) -> None:
    """A description is JSON, so it could never match a date that YAML makes of a text."""
    content = minimal()
    content["event_types"]["page_opened"]["description_schema"] = {
        "type": "object",
        "properties": {"since": "HERE", "quoted": {"enum": ["2026-01-01", 1, 0.5, True, None]}},
    }
    text = yaml.safe_dump(content, sort_keys=False)
    load_catalogue(write(tmp_path, text.replace("HERE", "{}")))
    assert f"line 11: event_types.page_opened: description_schema is not usable: {named}" in (
        error_of(write(tmp_path, text.replace("HERE", since)))
    )


@pytest.mark.parametrize("reference", ["https://schema.example.org/a.json", "file:///a", "a.json"])
def test_a_schema_that_needs_another_document_is_refused_unfetched(
    tmp_path: Path, reference: str
) -> None:
    content = minimal()
    content["event_types"]["page_opened"]["description_schema"] = {
        "type": "object",
        "allOf": [{"$ref": reference}],
    }
    assert "a $ref to another document" in error_of(write(tmp_path, content))


def test_an_entity_can_not_be_required_without_being_named(tmp_path: Path) -> None:
    content = minimal()
    del content["event_types"]["page_opened"]["entity"]
    content["event_types"]["page_opened"]["entity_required"] = True
    assert "event_types.page_opened: entity_required" in error_of(write(tmp_path, content))


@pytest.mark.parametrize(
    ("section", "name"),
    [
        *(
            ("event_types", name)
            for name in ("Page", "page-opened", "", "a" * 65, "a b", "é", "a\n")
        ),
        *(("apps", name) for name in ("Shop", "shop_admin", "", "a" * 65, "a.b", 7, None, True)),
        *(("entity_types", name) for name in ("Page", "a-b", "")),
        *(
            (section, name)
            for section in ("apps", "event_types", "entity_types", "id_formats")
            for name in ("(all)", "(none)", "(unknown)", "(other)")
        ),
    ],
)
def test_bad_and_reserved_names_are_refused(tmp_path: Path, section: str, name: object) -> None:
    content = minimal()
    content[section][name] = next(iter(content[section].values()))
    message = error_of(write(tmp_path, content))
    assert f"{section}: the name {name!r}" in message


def test_names_of_64_characters_are_allowed(tmp_path: Path) -> None:
    content = minimal()
    content["apps"]["a" * 64] = {"host": "a"}
    content["event_types"]["_" * 64] = content["event_types"]["page_opened"]
    catalogue = load_catalogue(write(tmp_path, content))
    assert "a" * 64 in catalogue.apps
    assert "_" * 64 in catalogue.event_types


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("version: 1\nversion: 2\n", "line 2: the key 'version' is there twice"),
        (
            "version: 1\napps:\n  a: {host: a}\n  'a': {host: b}\n",
            "line 4: the key 'a' is there twice",
        ),
        ("apps:\n  a: {host: a, host: b}\n", "line 2: the key 'host' is there twice"),
        ("apps: {a: [\n", "is not valid YAML"),
        ("apps: *nowhere\n", "line 1: is not valid YAML"),
        ("apps: !!python/object/apply:os.getcwd []\n", "line 1: is not valid YAML"),
        ("? [a]\n: b\n", "is not valid YAML"),
        ("version: 2026-99-99\n", "is not valid YAML"),
        ("version: \x07\n", "is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML"),
        ("[" * 5_000, "line 1: is nested more than 100 deep"),
        ("- " * 400_000 + "a", "line 1: is nested more than 100 deep"),
        ("a: " + "[\n" * 100_000, "line 100: is nested more than 100 deep"),
        ("{a:\n" * 100_000, "line 101: is nested more than 100 deep"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "line 3: merge keys (<<) are not read"),
        ("", "the file must be a mapping"),
        ("- a\n", "the file must be a mapping"),
        ("version\n", "the file must be a mapping"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    assert named in error_of(write(tmp_path, text))


def test_a_schema_that_holds_itself_is_refused(tmp_path: Path) -> None:
    text = PACKAGED_CATALOGUE.read_text(encoding="utf-8").replace(
        "properties:", "properties: &loop\n        more: { type: object, properties: *loop }", 1
    )
    assert "description_schema" in error_of(write(tmp_path, text))


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in error_of(tmp_path / "absent.yaml")
    assert "cannot be read" in error_of(tmp_path)
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"version: \xff\n")
    assert "UTF-8" in error_of(path)


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(section=st.sampled_from(sorted(minimal())), value=documents)
def test_any_content_loads_or_is_refused_in_one_line(
    tmp_path: Path, section: str, value: object
) -> None:
    path = write(tmp_path, {**minimal(), section: value})
    try:
        catalogue = load_catalogue(path)
    except CatalogueError:
        error_of(path)
        return
    names = [*catalogue.apps, *catalogue.event_types, *catalogue.entity_types]
    assert all(re.fullmatch(r"[a-z0-9_-]{1,64}", name) for name in names)
