"""The client's own tests, its size, its generated types, and its route helper.

The route helper is compared with the server's.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import string
import subprocess
import uuid
from pathlib import Path
from types import ModuleType

from support.client import ROOT, Npm
from support.outside import REAL_TRAFFIC, needs

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE, load_catalogue
from signal_pipeline.catalogue.typescript import typescript_types
from signal_pipeline.events.routes import route_template

# Two colons count as an address on the client, which can be stricter.
STRICTER = {"/std::vector"}


def test_its_types_are_those_of_the_catalogue() -> None:
    committed = (ROOT / "client" / "src" / "events.ts").read_text(encoding="utf-8")
    assert committed == typescript_types(load_catalogue(PACKAGED_CATALOGUE)), (
        "run `make client-types`, and commit"
    )


def test_it_compiles_and_wrong_calls_do_not(npm: Npm) -> None:
    npm("run", "types")


def test_its_unit_tests_pass(npm: Npm, built: Path) -> None:
    printed = npm("run", "unit").stdout
    assert "# fail 0" in printed
    assert "# skipped 0" in printed


def test_it_is_small(npm: Npm, built: Path) -> None:
    npm("run", "size")


def test_its_lock_names_no_host(installed: Path) -> None:
    packages = json.loads((installed / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []


def _server_tests() -> ModuleType:
    """The server's own cases, so that there is only one list of them."""
    spec = importlib.util.spec_from_file_location(
        "server_routes", ROOT / "tests" / "events" / "test_routes.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cases(test: object) -> list[str]:
    (mark,) = (mark for mark in test.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    return list(mark.args[1])


def client_templates(built: Path, routes: list[str]) -> list[str | None]:
    """The client's template of each route."""
    done = subprocess.run(
        ["node", "test/routes.mjs"],
        cwd=built,
        input=json.dumps(routes),
        capture_output=True,
        text=True,
        check=True,
    )
    templates: list[str | None] = json.loads(done.stdout)
    return templates


def test_the_route_helper_agrees_with_the_servers_cases(built: Path) -> None:
    server = _server_tests()
    stay = [
        route for route in _cases(server.test_templates_and_slugs_stay) if route not in STRICTER
    ]
    assert client_templates(built, stay) == stay
    go = _cases(server.test_ids_and_tokens_go)
    assert client_templates(built, [f"/journeys/{part}/edit" for part in go]) == [
        "/journeys/[id]/edit"
    ] * len(go)
    cut = [
        (f"https://admin.example.org{route}", expected)
        for route, expected in _cases(server.test_query_and_fragment_are_cut)
    ]
    assert client_templates(built, [route for route, _ in cut]) == [expected for _, expected in cut]
    assert (
        client_templates(
            built, ["journeys", "/a\x00b", "/a\x9b", "/a\ud800", "/" + "a" * 256, "/1" * 100]
        )
        == [None] * 6
    )


@needs(REAL_TRAFFIC)
def test_real_templates_stay(built: Path) -> None:
    routes: set[str] = set()
    with REAL_TRAFFIC.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                routes.add(json.loads(line).get("route") or "/")
            except ValueError:
                continue
    ordered = sorted(routes)
    assert client_templates(built, ordered) == ordered


def _private_parts(source: random.Random) -> list[str]:
    """Random ids and tokens of many kinds, and mixtures of the pieces that make them."""
    alphanumeric = string.ascii_letters + string.digits
    pieces = [
        "@",
        "%40",
        "%2540",
        "%ff",
        ".",
        "-",
        "_",
        ":",
        "::",
        "é",
        "x",
        "7",
        "\u0663",
        "\uff20",
        "ab12CD34ef56",
        "\u200b",
        "\u202e",
        "%E2%80%AE",
        "%00",
        "%3F",
        "%253f",
        "%23",
        ";a=",
        ";",
        "&",
        "=",
        "имя",
        "\u2013",
        "\ufe0f",
        "\u3164",
        "\u2800",
        "１",
        "&commat;",
        "&period;",
        "&amp;",
        "&#64;",
        "%26commat%3B",
        "\\u0040",
        "\\\\u002e",
        "\\",
        "u0040",
    ]
    kinds = (
        lambda: str(uuid.UUID(int=source.getrandbits(128))),
        lambda: str(source.getrandbits(40)),
        lambda: f"{source.getrandbits(64):x}",
        lambda: f"{source.getrandbits(96):024x}",
        lambda: base64.urlsafe_b64encode(source.randbytes(24)).decode(),
        lambda: "".join(source.choices(alphanumeric, k=source.randrange(8, 44))),
        lambda: "".join(
            source.choices(string.ascii_lowercase + string.digits, k=source.randrange(8, 44))
        ),
        lambda: f"{''.join(source.choices(alphanumeric, k=6))}@example.org",
        lambda: ".".join(str(source.randrange(256)) for _ in range(4)),
        lambda: ":".join(f"{source.getrandbits(16):x}" for _ in range(8)),
        lambda: "".join(source.choices(pieces, k=source.randrange(1, 9))),
        lambda: "".join(f"%{byte:02X}" for byte in source.randbytes(source.randrange(1, 12))),
    )
    return [source.choice(kinds)() for _ in range(20_000)]


def test_the_client_is_never_weaker_than_the_server(built: Path) -> None:
    """The server would store what the client lets through as it is.

    It finds nothing more to replace.
    """
    routes = [f"/journeys/{part}/edit" for part in _private_parts(random.Random(7))]
    weaker = []
    for route, template in zip(routes, client_templates(built, routes), strict=True):
        if template is not None and route_template(template) != template:
            weaker.append((route, template))
    assert weaker == []
    assert (
        sum(template == "/journeys/[id]/edit" for template in client_templates(built, routes))
        > 10_000
    )
