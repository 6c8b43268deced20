"""Nothing private at rest: everything runs with marked inputs, errors are provoked on purpose, then every store is searched.

Searched: a dump of all databases, the data files and WAL, PostgreSQL's log, Dagster's storage and its GraphQL, the output
of every process, and every other file below `SIGNAL_HOME`, temporary ones included.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from traffic import line

from faults.marks import hits, hits_in_files, needles
from signal_pipeline.store.embedded import DATABASE, running_url, start_embedded, wheel_program

pytestmark = pytest.mark.timeout(900)

TODAY = date.today()
YESTERDAY = TODAY - timedelta(days=1)
SECRET = "leak-mark-secret-Zq81-of-more-than-32-bytes"
IPV4, IPV6 = "203.0.113.211", "2001:db8:dead:beef::7a51"
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0"
    " Safari/537.36 LeakMarkUa/7351"
)
EMAIL, USER_ID = "leak.mark@private-mail.example", "user-LeakMark-66120"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsZWFrLW1hcmsifQ.c2lnbmF0dXJlLWxlYWstbWFyaw"
NOWHERE: dict[str, str | bytes] = {
    "secret": SECRET,
    "IPv4 address": IPV4,
    "IPv6 address": IPV6,
    "user agent": AGENT,
    "part of the user agent": "LeakMarkUa/7351",
    "e-mail": EMAIL,
    "user id": USER_ID,
    "token": TOKEN,
    **{
        f"salt of {day}": hmac.digest(SECRET.encode(), str(day).encode(), "sha256")
        for day in (TODAY, YESTERDAY, YESTERDAY - timedelta(days=1))
    },
    "address and user agent": f"{IPV4}\x1f{AGENT}",
    "canonical hash input": f"admin.example.org\x1f{IPV4}\x1fChrome|150|Windows",
}
SESSION, ENTITY, STORED = str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
DAY_SALT = hmac.digest(SECRET.encode(), str(YESTERDAY).encode(), "sha256")
USER_HASH = hmac.digest(DAY_SALT, f"admin.example.org\x1f{IPV4}\x1fChrome|150|Windows".encode(), "sha256")
# Of an event these may be stored, but no log, error or run may tell them.
STORED_ONLY: dict[str, str | bytes] = {"session": SESSION, "entity": ENTITY, "event id": STORED, "hash": USER_HASH}

SPREAD_OUT = """
do $$
declare c record;
begin
    for c in
        select a.attrelid::regclass as t, a.attname from pg_attribute as a join pg_class as r on r.oid = a.attrelid
        where r.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and a.attstorage = 'x'
            and r.relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    loop
        execute format('alter table %s alter column %I set storage external', c.t, c.attname);
    end loop;
end $$"""


def marked(**changes: object) -> bytes:
    """A line full of marks."""
    fields: dict[str, object] = {
        "createdAt": f"{YESTERDAY}T10:00:00Z",
        "ip": IPV4,
        "userAgent": AGENT,
        "host": "admin.example.org",
        "email": EMAIL,
        "userId": USER_ID,
        "token": TOKEN,
        **changes,
    }
    return line(**fields)


def all_kinds() -> list[bytes]:
    """Lines that are accepted, and lines that fail at each check with a mark where they fail."""
    return [
        marked(clientEventId=STORED, sessionId=SESSION, entityType="journey", entityId=ENTITY),
        marked(ip=IPV6),
        marked(ip=f"[{IPV6}]:443", route=f"/people/{EMAIL}/{IPV4}?mail={EMAIL}#{TOKEN}"),
        marked(ip=f"not an address {IPV4}"),
        marked(eventType=EMAIL),
        marked(appName=EMAIL),
        marked(eventType=USER_ID, clientEventId=EMAIL),
        marked(entityType="journey", entityId=EMAIL),
        marked(entityType=EMAIL, entityId=ENTITY),
        marked(sessionId=EMAIL),
        marked(createdAt=EMAIL),
        marked(route=EMAIL),
        marked(host=f"bad host {IPV4}"),
        marked(description={"deep": [{"note": EMAIL}]}),
        marked(description={"e-mail": USER_ID}),
        marked(description={"note": TOKEN, "seen": IPV4}),
        marked(description={"note": f"x {IPV6} y"}),
        marked(description={"note": EMAIL * 200}),
        marked(userAgent=f"Googlebot/2.1 {EMAIL} (+http://www.google.com/bot.html)"),
        marked(createdAt="2001-01-01T00:00:00Z"),
        marked(clientEventId=None),
        marked()[:-9],
        b'{"eventType": "' + EMAIL.encode() + b"\xff\xfe" + TOKEN.encode() + b'"}',
        b'{"ip": "' + IPV4.encode() + b'", "userAgent": "\\ud800' + AGENT.encode() + b'"}',
        AGENT.encode() * 4000,
    ]


def port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `SIGNAL_HOME` of its own, with every temporary file below it."""
    for name in list(os.environ):
        if name.startswith(("SIGNAL", "DAGSTER")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    (folder / "tmpdir").mkdir(parents=True)
    (folder / "tmpdir").chmod(0o777)
    monkeypatch.setenv("SIGNAL_HOME", str(folder))
    monkeypatch.setenv("SIGNALS_SALT_SECRET", SECRET)
    monkeypatch.setenv("TMPDIR", str(folder / "tmpdir"))
    return folder


@pytest.fixture
def command(home: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs the command; what it prints is kept below the home, to be searched."""
    outputs = home / "outputs"
    outputs.mkdir()

    def run(*arguments: object, stdin: bytes = b"") -> int:
        with (outputs / f"{len(list(outputs.iterdir())):02}-{arguments[0]}").open("wb") as output:
            return subprocess.run(
                [sys.executable, "-c", "from signal_pipeline.cli import main; main()", *map(str, arguments)],
                input=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                check=False,
            ).returncode

    return run


@contextmanager
def dagster(home: Path, tmp_path: Path, ui: int) -> Iterator[subprocess.Popen[bytes]]:
    """The UI and the daemon, as `signal-pipeline dev` runs them."""
    with (home / "outputs" / "dev").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from signal_pipeline.cli import main; main()", "dev", "--port", str(ui)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def wait_for(what: str, true: Callable[[], bool], seconds: float = 240) -> None:
    """Wait until something is true; errors count as not yet."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        try:
            if true():
                return
        except (OSError, psycopg.Error, ValueError):
            pass
        time.sleep(1)
    pytest.fail(f"{what}: not within {seconds:.0f} s")


def graphql(ui: int, query: str) -> str:
    """What the UI answers, as text."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{ui}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


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


def land(home: Path, name: str, lines: list[bytes]) -> None:
    """Move a finished file into the landing."""
    draft = home / f"{name}.tmp"
    draft.write_bytes(b"\n".join(lines))
    landing = home / "landing"
    landing.mkdir(exist_ok=True)
    draft.rename(landing / f"{name}.ndjson")


def connect(home: Path, database: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
    """A connection to the home's server, started if need be."""
    url = running_url(home) or start_embedded(home)
    return psycopg.connect(url.replace(f"/{DATABASE}?", f"/{database}?"), autocommit=True)


def fresh(home: Path) -> bool:
    """Whether every open day with events has builds of its version."""
    with connect(home) as connection:
        row = connection.execute(
            "select count(*) filter (where b.version is distinct from d.version), count(*) from signal.days as d"
            " left join signal.builds as b on b.day = d.day and b.rollup = 'daily_app_activity' where d.version > 0"
        ).fetchone()
    assert row is not None
    return row[0] == 0 and row[1] != 0


def test_no_private_value_is_ever_at_rest(home: Path, command: Callable[..., int], tmp_path: Path) -> None:
    assert command("migrate") == 0
    with connect(home) as connection:
        connection.execute(SPREAD_OUT)
        connection.execute("alter system set log_min_messages = 'info'")
        connection.execute("select pg_reload_conf()")
    assert command("ingest", "-", "--json", stdin=b"\n".join(all_kinds())) == 0
    _provoke_errors(home, command)
    ui = port()
    with dagster(home, tmp_path, ui):
        wait_for("the UI", lambda: "runsOrError" in graphql(ui, RUNS))
        with connect(home, "signal_dagster") as connection:
            connection.execute(SPREAD_OUT)
        _break_events(home)
        land(home, "failing", [marked(route="/broken"), *all_kinds()])
        wait_for("a failed run", lambda: '"FAILURE"' in graphql(ui, RUNS))
        _mend_events(home)
        assert _stop_postgres_at_once(home)
        land(home, "good", [marked(sessionId=SESSION) for _ in range(50)])
        wait_for("the landing", lambda: not list((home / "landing").glob("*.ndjson")))
        wait_for("fresh rollups", lambda: fresh(home))
        # Its pool holds connections to the server that was stopped: the first requests fail.
        wait_for("the UI again", lambda: '"SUCCESS"' in graphql(ui, RUNS))
        answers = graphql(ui, RUNS)
    person = f"admin.example.org\n{IPV4}\n{AGENT}\n".encode()
    assert command("subject", "--day", YESTERDAY, stdin=person) == 0
    assert USER_HASH.hex() in (sorted((home / "outputs").glob("*-subject"))[-1]).read_text()
    _search(home, answers)
    assert command("erase", "--user-hash", USER_HASH.hex(), "--day", YESTERDAY, "--json") == 0
    assert command("erase", "--entity", "journey", ENTITY, "--json") == 0
    _search(home, answers, erased=True)


def _provoke_errors(home: Path, command: Callable[..., int]) -> None:
    person = f"admin.example.org\n{IPV4} {EMAIL}\n{AGENT}\n".encode()
    assert command("subject", "--day", YESTERDAY, stdin=person) == 1
    assert command("subject", "--day", YESTERDAY, stdin=person + TOKEN.encode()) == 1
    _break_events(home)
    assert command("ingest", "-", stdin=b"\n".join([marked(route="/broken"), *all_kinds()])) == 1
    _mend_events(home)
    with connect(home) as connection:
        connection.execute("alter table signal.books rename to hidden")
        assert command("ingest", "-", stdin=b"\n".join(all_kinds())) == 1
        connection.execute("alter table signal.hidden rename to books")
    assert command("report", "app", "--from", YESTERDAY, "--to", TODAY) == 0
    assert command("status", "--json") == 0
    assert command("rotate-secret", "--json") == 0


def _break_events(home: Path) -> None:
    """An insert fails with a message whose detail would show the whole row."""
    with connect(home) as connection:
        connection.execute("alter table signal.events add constraint broken check (route <> '/broken') not valid")


def _mend_events(home: Path) -> None:
    with connect(home) as connection:
        connection.execute("alter table signal.events drop constraint broken")


def _stop_postgres_at_once(home: Path) -> bool:
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    return True


def _search(home: Path, answers: str, *, erased: bool = False) -> None:
    url = running_url(home) or start_embedded(home)
    nowhere, stored_only = needles(NOWHERE), needles(STORED_ONLY)
    with connect(home) as connection:
        connection.execute("checkpoint")
    dumps = {name: _dump(url, name) for name in (DATABASE, "signal_dagster")}
    # The search sees what is there: the ids of the stored events, in the dump and in the data files.
    kept = {"event id": STORED}
    assert hits(needles(kept), dumps[DATABASE])
    assert hits_in_files(needles({"ledger": uuid.UUID(STORED).bytes}), (home / "postgres" / "base").rglob("*"))

    assert {name: hits(nowhere, dump) for name, dump in dumps.items()} == {DATABASE: set(), "signal_dagster": set()}
    assert hits(nowhere, answers.encode()) == set()
    assert hits_in_files(nowhere, home.rglob("*")) == {}

    assert hits(stored_only, dumps["signal_dagster"]) == set()
    assert hits(stored_only, answers.encode()) == set()
    logs = [
        path
        for path in home.rglob("*")
        if (path.suffix == ".log" or path.name == "log" or "outputs" in path.parts) and "-subject" not in path.name
    ]
    assert len(logs) > 5
    assert hits_in_files(stored_only, logs) == {}
    if erased:
        wanted = needles({"hash": USER_HASH.hex(), "entity": ENTITY})
        assert hits(wanted, dumps[DATABASE]) == set()


def _dump(url: str, database: str) -> bytes:
    program = wheel_program("pg_dump")
    assert program is not None
    target = url.replace(f"/{DATABASE}?", f"/{quote(database)}?")
    return subprocess.run([program, "--dbname", target], capture_output=True, check=True).stdout
