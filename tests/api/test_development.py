"""The first ten minutes: no gateway, no issuer, no database of one's own."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from support.wire import Issuer, Server, outcome, run, start_server

from signal_pipeline.api.identity.configuration import identification_from
from signal_pipeline.api.identity.development import public_keys_file, sample_request
from signal_pipeline.settings import Settings

JSON = {"content-type": "application/json"}
INTROSPECTION = "{ __schema { queryType { name } } }"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that does not exist yet."""
    return tmp_path_factory.mktemp("first") / "home"


@pytest.fixture(scope="module")
def fresh(home: Path, issuer: Issuer) -> Iterator[Server]:
    """A server on a home that did not exist."""
    home.mkdir()
    server = start_server(issuer, {"SIGNAL_HOME": str(home)}, home)
    yield server
    server.stop()


def sample_of(fresh: Server, home: Path, *arguments: str) -> str:
    """The output of `token`."""
    done = run({"SIGNAL_HOME": str(home)}, "token", "--url", f"{fresh.url}/graphql", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_keys_follow_the_private_key(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, env="development", home=tmp_path)  # type: ignore[call-arg]
    first = public_keys_file(settings).read_text()
    assert public_keys_file(settings).read_text() == first
    (tmp_path / "development" / "issuer-key.pem").unlink()
    assert public_keys_file(settings).read_text() != first


def test_a_token_can_have_both_roles_in_one_claim(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        env="development",
        home=tmp_path,
        admin_claim="role=admin",
        analyst_claim="role=analyst",
    )
    sample = sample_request(settings, "boss", admin=True, analyst=True, url="http://127.0.0.1")
    token = sample.headers["authorization"].removeprefix("JWT ")
    claims = jwt.decode(token, options={"verify_signature": False})
    roles = identification_from(settings, gateway=False).roles
    assert roles.of_person("boss", claims) == {"admin", "analyst"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_printed_command_stores_an_event_and_an_admin_reads_it(
    fresh: Server, home: Path
) -> None:
    command = sample_of(fresh, home, "--user", "it's me")
    stored = json.loads(subprocess.run(command, shell=True, capture_output=True, check=True).stdout)
    assert outcome(stored) == ("accepted", None)
    again = json.loads(subprocess.run(command, shell=True, capture_output=True, check=True).stdout)
    assert outcome(again) == ("duplicate", None)
    reading = sample_of(fresh, home, "--user", "boss", "--admin")
    read = json.loads(subprocess.run(reading, shell=True, capture_output=True, check=True).stdout)
    assert len(read["data"]["events"][0]["userHash"]) == 64
    counting = sample_of(fresh, home, "--user", "counts", "--analyst")
    counted = json.loads(
        subprocess.run(counting, shell=True, capture_output=True, check=True).stdout
    )
    assert counted["data"]["eventStats"]["rows"] == []  # Today is not built.


def test_the_keys_are_for_their_owner_only(fresh: Server, home: Path) -> None:
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (home / "development").iterdir()
    }
    assert modes == {"issuer-key.pem": 0o600, "gateway-secret": 0o600, "jwks.json": 0o600}


def test_an_altered_sample_is_refused(fresh: Server, home: Path) -> None:
    sample = json.loads(sample_of(fresh, home, "--user", "u", "--json"))
    sample["body"]["variables"]["input"]["appName"] = "cms"
    answer = httpx.post(sample["url"], json=sample["body"], headers=sample["headers"])
    assert answer.status_code == 401
    del sample["body"]["extensions"]["hmac-signature"]
    assert (
        httpx.post(sample["url"], json=sample["body"], headers=sample["headers"]).status_code == 401
    )


def test_the_socket_is_the_address_where_no_proxy_says_one(fresh: Server, home: Path) -> None:
    sample = json.loads(sample_of(fresh, home, "--user", "u", "--json"))
    del sample["headers"]["x-forwarded-for"]
    assert (
        outcome(httpx.post(sample["url"], json=sample["body"], headers=sample["headers"]).json())[0]
        == "accepted"
    )
    reading = json.loads(sample_of(fresh, home, "--user", "boss", "--admin", "--json"))
    answer = httpx.post(reading["url"], json=reading["body"], headers=reading["headers"]).json()
    assert len({row["userHash"] for row in answer["data"]["events"]}) >= 1


def test_introspection_and_the_sdl_are_there(fresh: Server) -> None:
    for query in (INTROSPECTION, "{ _service { sdl } }"):
        answer = fresh.client.post(f"{fresh.url}/graphql", json={"query": query})
        assert "errors" not in answer.json()


def test_pages_of_this_machine_may_call(fresh: Server) -> None:
    def preflight(origin: str) -> httpx.Response:
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        return fresh.client.options(f"{fresh.url}/graphql", headers=headers)

    for origin in ("http://localhost:4200", "http://127.0.0.1:3000", "https://localhost"):
        assert preflight(origin).headers["access-control-allow-origin"] == origin
    for origin in (
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "null",
    ):
        assert "access-control-allow-origin" not in preflight(origin).headers


def test_a_page_of_this_machine_is_answered_as_a_gateway_is(fresh: Server, home: Path) -> None:
    """A request with an origin takes the longer way, through CORS, to the same endpoint."""
    sample = json.loads(sample_of(fresh, home, "--user", "u", "--json"))
    origin = "http://localhost:4200"
    plain, page = (
        httpx.post(sample["url"], json=sample["body"], headers={**sample["headers"], **more})
        for more in ({}, {"origin": origin})
    )
    assert page.headers["access-control-allow-origin"] == origin
    assert (outcome(plain.json()), outcome(page.json())) == (
        ("accepted", None),
        ("duplicate", None),
    )
    for name in ("content-type", "cache-control"):
        assert plain.headers[name] == page.headers[name]
    broken = [
        httpx.post(sample["url"], content=b"{", headers={"origin": origin, **more})
        for more in (JSON, {})
    ]
    assert [answer.status_code for answer in broken] == [400, 415]
    for answer, expected in zip(broken, (JSON, {}), strict=True):
        assert answer.json() == httpx.post(sample["url"], content=b"{", headers=expected).json()


def test_without_a_gateway_a_token_is_enough(home: Path, fresh: Server, issuer: Issuer) -> None:
    direct = start_server(issuer, {"SIGNAL_HOME": str(home)}, home, "--no-gateway")
    try:
        sample = json.loads(sample_of(direct, home, "--user", "u", "--json"))
        del sample["body"]["extensions"]
        assert (
            outcome(
                httpx.post(sample["url"], json=sample["body"], headers=sample["headers"]).json()
            )[0]
            == "accepted"
        )
        deep = sample["body"]["variables"]["input"]["description"] = {}
        for _ in range(450):  # Little enough for the parser of JSON.
            deep["a"] = {"a": {}}
            deep = deep["a"]["a"]
        answer = httpx.post(sample["url"], json=sample["body"], headers=sample["headers"])
        assert outcome(answer.json()) == ("dropped", "invalid_field")
        sample["headers"]["authorization"] += "x"
        assert (
            httpx.post(sample["url"], json=sample["body"], headers=sample["headers"]).status_code
            == 401
        )
    finally:
        direct.stop()


def test_samples_are_for_development_only(home: Path, tmp_path: Path) -> None:
    for settings in ({"SIGNAL_ENV": "production"}, {"SIGNAL_JWKS": str(tmp_path / "jwks.json")}):
        done = run({"SIGNAL_HOME": str(home), **settings}, "token", "--user", "u")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
