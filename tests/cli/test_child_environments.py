"""Which process holds which secret.

The tests read the environments of all processes that a command starts, at any depth, as the system
shows them.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from support.commands import PROGRAM, environment_with, start_command
from support.dagster import answers, asker
from support.waits import PATIENCE_SECONDS

from faults.wire import free_port
from signal_pipeline.cli.psql import open_psql
from signal_pipeline.postgres.embedded import running_url
from signal_pipeline.system.child_environments import (
    code_location_environment,
    dagster_environment,
    postgres_environment,
    psql_environment,
)

SALT, AUDIT, GATEWAY = "SIGNALS_SALT_SECRET", "SIGNAL_AUDIT_KEY", "SIGNAL_HMAC_SECRET"
SECRETS = {
    SALT: "held-salt-secret-of-more-than-32-bytes",
    AUDIT: "held-audit-key-of-more-than-32-bytes",
    GATEWAY: "held-gateway-secret",
    "SIGNAL_API_KEYS": f"held:{'0a' * 32}",
    "SIGNAL_ALERT_URLS": "",
    "PGPASSWORD": "held-password-of-a-login",
}
OTHERS: dict[str, str | None] = dict.fromkeys(
    (
        "SIGNAL_DATABASE_URL",
        "SIGNAL_DAGSTER_DATABASE_URL",
        "SIGNAL_ENV",
        "DAGSTER_HOME",
        "SIGNAL_START_DATE",
    )
)
LAUNCH = (
    "mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {"
    " __typename } }"
)
CHECKS = {
    "selector": {
        "repositoryLocationName": "signal",
        "repositoryName": "__repository__",
        "jobName": "checks_job",
    },
    "runConfigData": {},
}
HOLD = (
    "import sys; from pathlib import Path; from signal_pipeline.postgres import embedded\n{old}"
    "print(embedded.start_embedded(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)
# Like versions that passed their environment on.
OLD = """
import atexit
def start(server):
    server.start()
    atexit.unregister(server._cleanup)
embedded.wheel.pgexec = embedded.pgexec
embedded._start, embedded._restart_if_older = start, lambda *_: None
"""


class Watched:
    """A running command, and the secrets that each process below it was seen to hold.

    The secrets are by the kind of process.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.seen: dict[str, set[str]] = {}

    def look(self) -> None:
        command = psutil.Process(self.process.pid)
        for child in command.children(recursive=True):
            with suppress(psutil.Error):
                line = child.cmdline()
                held = {
                    name
                    for name, value in child.environ().items()
                    if value and value in SECRETS.values()
                }
                # A new process is a copy of the command until it has its own program. When Dagster
                # is imported, it asks `file` for a moment how wide Python's addresses are.
                if command.cmdline() != line == child.cmdline() and line[:2] != ["file", "-b"]:
                    self.seen.setdefault(_kind(child), set()).update(held)

    def replace(self, kind: str) -> None:
        """Kill all processes of a kind, and wait until the command has started as many others."""
        killed = self._of(kind)
        for each in killed:
            each.kill()
        self.until(lambda: len(self._of(kind) - killed) == len(killed))
        self.look()

    def _of(self, kind: str) -> set[psutil.Process]:
        found = set()
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if _kind(child) == kind:
                    found.add(child)
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 400
        while not condition():
            self.look()
            assert self.process.poll() is None, "it ended"
            assert time.monotonic() < give_up, self.seen
            time.sleep(0.2)


def _kind(process: psutil.Process) -> str:
    """The kind of a process.

    A new process looks like its parent until it has its own program.
    """
    line = " ".join(process.cmdline())
    known = (
        "dagster_webserver",
        "dagster._daemon",
        "spawn_main",
        "resource_tracker",
        "code-server start",
        "api grpc",
        "dagster dev",
    )
    return next((each for each in known if each in line), process.name())


@contextmanager
def watched(folder: Path, *arguments: str, **changes: str) -> Iterator[Watched]:
    """A command with every secret, on an embedded database of its own.

    Some secrets are in the environment and some in `.env`.
    """
    (folder / ".env").write_text(f"{SALT}={SECRETS[SALT]}\n{AUDIT}={SECRETS[AUDIT]}\n")
    (folder / ".env").chmod(0o600)
    given = {name: value for name, value in SECRETS.items() if name not in (SALT, AUDIT)}
    env = environment_with(
        {
            **OTHERS,
            **dict.fromkeys((SALT, AUDIT)),
            **given,
            "SIGNAL_HOME": str(folder / "h"),
            **changes,
        }
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, *arguments], env=env, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield Watched(process)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def environment_of_server(url: str) -> dict[str, str]:
    """What an SQL superuser can read of the server's environment."""
    with psycopg.connect(url) as connection:
        connection.execute("create temporary table found (line text)")
        connection.execute(
            "copy found from program 'env' with (format csv, delimiter E'\\x01', quote E'\\x02')"
        )
        lines = connection.execute("select line from found").fetchall()
    return dict(line.partition("=")[::2] for (line,) in lines)


def test_of_dagster_only_the_code_location_can_make_hashes(tmp_path: Path) -> None:
    port = free_port()
    with watched(tmp_path, "dev", "--port", str(port)) as dev:
        ask = asker(port)
        dev.until(lambda: answers(ask))
        assert ask(LAUNCH, params=CHECKS)["launchRun"]["__typename"] == "LaunchRunSuccess"
        dev.until(lambda: "spawn_main" in dev.seen)
        url = running_url(tmp_path / "h")
        assert url
        assert not set(environment_of_server(url).values()) & set(SECRETS.values())
    location = {SALT, "PGPASSWORD"}
    for kind in ("code-server start", "api grpc", "spawn_main"):
        assert dev.seen.pop(kind) == location, kind
    for kind in ("dagster dev", "dagster_webserver", "dagster._daemon"):
        assert dev.seen.pop(kind) <= {"PGPASSWORD"}, (
            kind
        )  # Not Signal's own: a dagster.yaml can read it.
    assert set().union(*dev.seen.values()) <= location, dev.seen
    assert not set().union(
        *(dev.seen.get(name, set()) for name in ("initdb", "pg_ctl", "postgres"))
    ), dev.seen


@pytest.mark.parametrize(
    ("command", "sign", "workers"),
    [
        ("serve --port 0", "Signal's subgraph", False),
        ("serve --port 0 --workers 2", "Signal's subgraph", True),
        ("demo", "ingest them", False),
    ],
)
def test_of_what_serve_and_demo_start_only_workers_hold_secrets(
    tmp_path: Path, command: str, sign: str, workers: bool
) -> None:
    with watched(tmp_path, *command.split()) as running:
        running.until(lambda: sign in (tmp_path / "log").read_text())
        running.look()
        if workers:
            assert running.seen["resource_tracker"] == set()
            # Also those that are started later.
            for kind in ("resource_tracker", "spawn_main"):
                running.replace(kind)
            assert running.seen.pop("resource_tracker") == set()
            assert running.seen.pop("spawn_main") == {GATEWAY, "SIGNAL_API_KEYS", "PGPASSWORD"}
        url = running_url(tmp_path / "h")
        assert url
        found = environment_of_server(url)
    assert not set(found.values()) & set(SECRETS.values())
    assert not [name for name in found if name.startswith(("SIGNAL", "DAGSTER", "PGPASS"))]
    assert "postgres" in running.seen
    del running.seen[
        "postgres"
    ]  # Its processes overwrite what the system shows of their environment.
    assert set().union(*running.seen.values()) == set(), running.seen


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a process with every secret that uses the embedded server.

    It does so until its stdin is closed.
    """
    started: list[subprocess.Popen[str]] = []

    def start(old: str = "") -> subprocess.Popen[str]:
        started.append(
            start_command(tmp_path / "h", cwd=tmp_path, program=HOLD.format(old=old), **SECRETS)
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ValueError):
            process.communicate()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_server_that_an_older_version_left_with_secrets_is_started_again(
    hold: Callable[..., subprocess.Popen[str]],
) -> None:
    old = hold(OLD)
    assert environment_of_server(_url(old))[SALT] == SECRETS[SALT]
    old.kill()
    old.communicate()
    new = hold()
    assert SALT not in environment_of_server(_url(new))
    _, said = new.communicate()
    assert said == ""


def test_a_server_with_secrets_that_another_process_uses_is_named(
    hold: Callable[..., subprocess.Popen[str]],
) -> None:
    old = hold(OLD)
    url = _url(old)
    for _ in range(2):
        new = hold()
        assert _url(new) == url
        assert SALT in environment_of_server(url)  # It was not stopped while the other used it.
        _, said = new.communicate()
        assert "stop every process that uses" in said
        assert len(said.splitlines()) == 1
        # The server then reads what the new process has written, but keeps its environment.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select pg_reload_conf()")
    old.communicate()
    again = hold()
    assert SALT not in environment_of_server(_url(again))
    joined = hold()
    assert _url(joined)
    assert joined.communicate()[1] == ""


def test_psql_gets_what_a_terminal_and_libpq_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "psql"
    stand_in.write_text(f"#!/bin/sh\nenv > {tmp_path}/found\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    wanted = {
        "TERM": "vt100",
        "PAGER": "less",
        "PGPASSWORD": "the-readers",
        "LC_ALL": "C.UTF-8",
        "PSQL_HISTORY": "/h",
    }
    for name, value in {**SECRETS, "SOME_OTHER_TOKEN": "held", **wanted}.items():
        monkeypatch.setenv(name, value)
    assert open_psql("postgresql://signal_reader@/signal?host=/s") == 0
    found = dict(line.partition("=")[::2] for line in (tmp_path / "found").read_text().splitlines())
    assert wanted.items() <= found.items()
    assert found["PGDATABASE"] == "signal"
    assert not [name for name in found if name.startswith("SIGNAL")]
    assert "SOME_OTHER_TOKEN" not in found


def test_nothing_is_chosen_by_what_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATHWAY", "LANGUAGE_KEY", "HOMEBREW_TOKEN", "SIGNAL_PATH", "TZ_SECRET"):
        monkeypatch.setenv(name, "held")
    assert "held" not in {*postgres_environment().values(), *psql_environment().values()}


def test_the_case_of_a_name_does_not_decide_who_gets_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signal reads its variables in any case."""
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("signals_salt_secret", "held-salt")
    monkeypatch.setenv("Signal_Audit_Key", "held-key")
    assert not {"held-salt", "held-key"} & {*dagster_environment().values()}
    assert "held-salt" in code_location_environment().values()
    assert "held-key" not in code_location_environment().values()
