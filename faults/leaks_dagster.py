"""The long part of the leak test: Dagster's UI and daemon run on marked files.

Runs fail and recover, and then the UI is asked for all that it knows.
"""

from __future__ import annotations

import json
import urllib.request

from faults.leak_home import until
from faults.leak_inputs import SESSION, all_kinds, marked
from faults.leaks import LeakTest
from faults.wire import free_port

RUNS = """{ runsOrError(limit: 100) { ... on Runs { results {
    runId jobName status runConfigYaml tags { key value }
    eventConnection(limit: 1000) { events {
        __typename
        ... on MessageEvent { message }
        ... on ErrorEvent { error { message stack className } }
        ... on MaterializationEvent { metadataEntries {
            label description
            ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on JsonMetadataEntry { jsonString }
        } }
    } }
} } } }"""


def by_dagster(test: LeakTest) -> None:
    """Land a file that fails, stop PostgreSQL, land a file that succeeds, and await its rollups."""
    port = free_port()
    with test.process("dev", "--port", port):
        until("the UI answers", lambda: "runsOrError" in _ask(port))
        with test.broken("events", "route <> '/broken'"):
            _land(
                test,
                "failing",
                [marked(test.yesterday, route="/broken"), *all_kinds(test.yesterday)],
            )
            until("a run fails", lambda: '"FAILURE"' in _ask(port, "raw_events_job"))
        test.stop_postgres()
        _land(test, "good", [marked(test.yesterday, sessionId=SESSION) for _ in range(50)])
        until("the landing is empty", lambda: not list((test.home / "landing").glob("*.ndjson")))
        until("the rollups are fresh", lambda: _fresh(test))
        # The UI's pool holds connections to the server that was stopped, so the first requests
        # fail.
        until("the UI answers again", lambda: '"SUCCESS"' in _ask(port))
        test.answers = _ask(port).encode()


def _land(test: LeakTest, name: str, lines: list[bytes]) -> None:
    draft = test.home / f"{name}.tmp"
    draft.write_bytes(b"\n".join(lines))
    draft.rename(test.home / "landing" / f"{name}.ndjson")


def _ask(port: int, job: str = "") -> str:
    """Return what the UI says about all runs, or about those of one job."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": RUNS}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        found = json.load(answer)
    runs = found["data"]["runsOrError"]["results"]
    return json.dumps(
        {"runsOrError": [run for run in runs if job in run["jobName"]]}, ensure_ascii=False
    )


def _fresh(test: LeakTest) -> bool:
    """True if every open day with events has builds of its version."""
    with test.connect() as connection:
        row = connection.execute(
            "select count(*) filter (where b.version is distinct from d.version), count(*) from"
            " signal.days as d left join signal.builds as b on b.day = d.day and b.rollup ="
            " 'daily_app_activity' where d.version > 0"
        ).fetchone()
    return row is not None and row[0] == 0 and row[1] != 0
