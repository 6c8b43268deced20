"""`signal-pipeline sql` on the embedded server.

psql keeps the server up, and a printed URL says how long it works.
"""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from support.commands import PROGRAM, environment_with, last_json, run_command, start_command

from signal_pipeline.cli.psql import LIFETIMES
from signal_pipeline.postgres.embedded import running_url

EMBEDDED: dict[str, str | None] = {
    "SIGNAL_DATABASE_URL": None,
    "SIGNAL_DAGSTER_DATABASE_URL": None,
    "PSQLRC": os.devnull,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose embedded database is migrated, and which nobody uses."""
    folder = tmp_path_factory.mktemp("sql")
    done = run_command("migrate", cwd=folder, SIGNAL_HOME=str(folder), **EMBEDDED)
    assert done.returncode == 0, done.stderr
    return folder


class Terminal:
    """`signal-pipeline sql` on a terminal of its own."""

    def __init__(self, home: Path) -> None:
        env = environment_with({**EMBEDDED, "SIGNAL_HOME": str(home), "TERM": "dumb"})
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM[0], [*PROGRAM, "sql"], env)  # noqa: S606 - this very command, without a shell
        self._seen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._screen, text.encode())

    def wait_for(self, text: str) -> None:
        """Read on until a text is shown; fails when the terminal closes."""
        while text not in self._seen:
            self._seen += os.read(self._screen, 4096).decode(errors="replace")
        self._seen = self._seen.partition(text)[2]

    def close(self) -> None:
        """Close the window."""
        os.close(self._screen)

    def exit_code(self) -> int:
        """Wait for the end."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    """A psql that has shown its prompt."""
    opened = Terminal(home)
    opened.wait_for("=> ")
    yield opened
    with suppress(ProcessLookupError):  # A failed test can leave it.
        os.kill(opened.pid, signal.SIGTERM)
        opened.exit_code()


def test_psql_keeps_the_server_and_a_cancelled_query_is_not_the_end(
    terminal: Terminal, home: Path
) -> None:
    terminal.type("\\pset pager off\n")
    terminal.type("select current_user, pg_sleep(600);\n")
    (psql,) = psutil.Process(terminal.pid).children()
    url = running_url(home)
    assert url
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(
            "select from pg_stat_activity where query ~ '^select current_user'"
        ).fetchall():
            assert psql.is_running()
    terminal.type("\x03")
    terminal.wait_for("canceling statement")
    terminal.type("select 6 * 7 as answer, current_user;\n")
    terminal.wait_for("42 | signal_reader")
    terminal.type("\\q\n")
    assert terminal.exit_code() == 0
    assert running_url(home) is None


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, None], ids=["told to end", "the window is closed"]
)
def test_the_server_ends_with_psql_however_that_ends(
    terminal: Terminal, home: Path, number: int | None
) -> None:
    if number is None:
        terminal.close()
    else:
        os.kill(terminal.pid, number)
    assert terminal.exit_code() == 128 + (number or signal.SIGHUP)
    assert running_url(home) is None


def test_a_printed_url_says_whether_anything_keeps_it_working(home: Path) -> None:
    alone = run_command("sql", "--json", cwd=home, SIGNAL_HOME=str(home), **EMBEDDED)
    assert last_json(alone.stdout)["lives"] == "with this command"
    assert alone.stderr.split() == LIFETIMES["with this command"].split()
    url = str(last_json(alone.stdout)["url"])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)

    hold = (
        "import sys; from signal_pipeline.postgres.embedded import start_embedded; from pathlib"
        " import Path\n"
    )
    hold += "print(start_embedded(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    user = start_command(home, cwd=home, program=hold, **EMBEDDED)
    assert user.stdout
    assert user.stdout.readline()
    kept = run_command("sql", "--json", cwd=home, SIGNAL_HOME=str(home), **EMBEDDED)
    assert last_json(kept.stdout)["lives"] == "with its users"
    plain = run_command("sql", cwd=home, SIGNAL_HOME=str(home), **EMBEDDED)
    assert plain.stdout.strip() == last_json(kept.stdout)["url"]
    assert plain.stderr.split() == LIFETIMES["with its users"].split()
    with psycopg.connect(plain.stdout.strip()) as connection:
        assert connection.execute("select current_user").fetchone() == ("signal_reader",)
    user.communicate()
    assert running_url(home) is None
