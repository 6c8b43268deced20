"""The client in a real Chromium against a real `signal-pipeline serve`.

The tests look at what is in PostgreSQL afterwards. `client/e2e/run.mjs` plays every scenario once;
each has its own journey, by which its rows are found.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import SECRET, START_DATE
from support.days import today, yesterday
from support.wire import Issuer, Server, start_server

from signal_pipeline.api.identity.development import sample_request
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
HELP = "editor_helpscout_overlay_opened"
WAYS = ("plain", "promised", "batch", "apollo")

Scenario = dict[str, Any]  # The output of JavaScript.


@pytest.fixture(scope="module")
def browser_database(server: str, template: str) -> Iterator[Database]:
    """A migrated, empty database for this module."""
    name = "signal_browser"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
        yield Database(with_database(server, name))
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def browser_environment(
    browser_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The settings of a development server, in which `token` works."""
    return {
        "SIGNAL_DATABASE_URL": browser_database.url,
        "SIGNAL_ENV": "development",
        "SIGNAL_HOME": str(tmp_path_factory.mktemp("browser") / "home"),
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_START_DATE": START_DATE.isoformat(),
    }


@pytest.fixture(scope="module")
def subgraph(
    browser_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A running `serve` that takes requests straight from a page."""
    server = start_server(
        Issuer(), browser_environment, tmp_path_factory.mktemp("serve"), "--no-gateway"
    )
    yield server
    server.stop()


def _token(environment: dict[str, str], user: str) -> str:
    settings = Settings(_env_file=None, home=environment["SIGNAL_HOME"], env="development")  # type: ignore[call-arg]
    sample = sample_request(settings, user, admin=False, analyst=False, url="")
    return sample.headers["authorization"].removeprefix("JWT ")


@pytest.fixture(scope="module")
def played(
    installed: Path, subgraph: Server, browser_environment: dict[str, str]
) -> dict[str, Scenario]:
    """What each scenario saw in the browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found: the client was not tested in a browser")
    setup = {
        "endpoint": f"{subgraph.url}/graphql",
        "tokens": [_token(browser_environment, f"user-{number}") for number in range(5)],
        "browser": CHROMIUM,
    }
    command = ["node", "e2e/run.mjs", json.dumps(setup)]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scenarios: dict[str, Scenario] = json.loads(done.stdout)
    return scenarios


Row = tuple[str, str | None, str | None, str, str, bytes]


class Seen:
    """One scenario: what the page sent, and the rows of its journey."""

    def __init__(self, scenario: Scenario, connection: Connection) -> None:
        assert "failed" not in scenario, scenario["failed"]
        self.page = scenario
        self.rows: list[Row] = connection.execute(
            "select event_type, route, session_id::text, client_event_id::text, browser_family,"
            " user_hash from signal.events where entity_type = 'journey' and entity_id = %s order"
            " by id",
            [scenario["journey"]],
        ).fetchall()  # type: ignore[assignment]
        # Nothing was thrown in the page, and no promise was left rejected.
        assert scenario["errors"] == []

    @property
    def sessions(self) -> list[str | None]:
        return [row[2] for row in self.rows]


@pytest.fixture
def seen(
    request: pytest.FixtureRequest, played: dict[str, Scenario], browser_database: Database
) -> Iterator[Seen]:
    """The scenario named by the test's parameter, else by its name."""
    name = (
        getattr(request, "param", None) or request.node.name.removeprefix("test_").partition("[")[0]
    )
    with browser_database.connect() as connection:
        yield Seen(played[name], connection)


def test_click(seen: Seen) -> None:
    ((event_type, route, session, client_event_id, browser, user_hash),) = seen.rows
    sent, *again = seen.page["events"]
    assert all(each == sent for each in again)  # A busy machine does not always answer in time.
    assert (event_type, browser, len(user_hash)) == (HELP, "Chrome", 32)
    assert (session, client_event_id) == (sent["sessionId"], sent["clientEventId"])
    # The app gave its whole address, with ids. Only the template left the browser, and no Referer
    # revealed the rest.
    assert route == sent["route"] == "/journeys/[id]/edit"
    assert "referer" not in seen.page["headers"]


def test_a_click_reaches_the_rollup(
    played: dict[str, Scenario],
    browser_database: Database,
    browser_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    code = "from signal_pipeline.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "backfill",
        "--from",
        str(yesterday()),  # Midnight can have passed since the click.
        "--to",
        str(today()),
        "--rollup",
        "daily_entity_activity",
    ]
    subprocess.run(
        command, env={**clean, **browser_environment}, cwd=tmp_path, check=True, capture_output=True
    )
    query = (
        "select event_type, events, users, sessions from signal.daily_entity_activity"
        " where entity_id = %s and event_type <> '(all)'"
    )
    with browser_database.connect() as connection:
        rows = {
            name: connection.execute(query, [played[name]["journey"]]).fetchall()
            for name in ("click", "two_tabs")
        }
    assert rows == {"click": [(HELP, 1, 1, 1)], "two_tabs": [(HELP, 2, 1, 2)]}


def test_double_click(seen: Seen) -> None:
    assert len(seen.rows) == 2
    assert len({row[3] for row in seen.rows}) == 2
    assert len(set(seen.sessions)) == 1


@pytest.mark.parametrize(
    "seen",
    [f"{how}_at_once_{way}" for how in ("navigates", "closes") for way in WAYS],
    indirect=True,
)
def test_leaving_right_after_a_click_loses_nothing(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == [HELP]


def test_link(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == [HELP]


def test_offline_then_online(seen: Seen) -> None:
    assert len(seen.rows) == 1
    assert seen.page["requests"] > 1
    assert len({event["clientEventId"] for event in seen.page["events"]}) == 1


@pytest.mark.parametrize("seen", ["lost_answer", "unavailable_once"], indirect=True)
def test_a_retry_counts_once(seen: Seen) -> None:
    assert len(seen.rows) == 1
    assert seen.page["requests"] == 2
    assert len({event["clientEventId"] for event in seen.page["events"]}) == 1


def test_batch(seen: Seen) -> None:
    assert len(seen.rows) == 3
    assert seen.page["requests"] == 1


def test_overlay_under_strict_mode(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == ["editor_analytics_overlay_opened"] * 2


def test_overlay_closed_in_a_hidden_activity(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == ["editor_analytics_overlay_opened"] * 2


def test_overlay_open_in_a_hidden_activity(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == ["editor_analytics_overlay_opened", HELP]


def test_persisted_queries(seen: Seen) -> None:
    assert [row[0] for row in seen.rows] == [HELP]
    assert seen.page["requests"] == 1


@pytest.mark.parametrize("seen", ["user_loading", "user_absent", "user_internal"], indirect=True)
def test_nobody_to_count_means_no_request(seen: Seen) -> None:
    assert seen.rows == []
    assert (seen.page["requests"], seen.page["stored"], seen.page["shown"]) == (0, 0, "1")


@pytest.mark.parametrize(
    ("seen", "retried"),
    [
        ("endpoint_down", True),
        ("endpoint_cut", True),
        ("endpoint_500", True),
        ("endpoint_garbage", False),
        ("endpoint_slow", False),
    ],
    indirect=["seen"],
)
def test_the_page_never_notices_a_bad_endpoint(seen: Seen, retried: bool) -> None:
    assert seen.page["shown"] == "2"
    first = [event["clientEventId"] for event in seen.page["events"]].count(
        seen.page["events"][0]["clientEventId"]
    )
    assert (first > 1) is retried
    assert seen.rows == []


@pytest.mark.parametrize("seen", ["two_tabs", "opened_by_script"], indirect=True)
def test_two_tabs_are_two_sessions_of_one_user(seen: Seen) -> None:
    assert seen.page.get("copied", True)  # Chromium did copy the opener's storage.
    assert len(seen.rows) == 2
    assert len(set(seen.sessions)) == 2
    assert len({row[5] for row in seen.rows}) == 1


def test_opened_by_a_page_without_an_event(seen: Seen) -> None:
    first, child, again = seen.sessions
    assert first == again != child


def test_reload(seen: Seen) -> None:
    assert len(seen.rows) == 2
    assert len(set(seen.sessions)) == 1


def test_midnight(seen: Seen) -> None:
    first, second, third = seen.sessions
    assert first == second != third
