"""The embedded PostgreSQL: shared by processes, and stopped with its last user.

That holds whatever was killed in between.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from support.commands import start_command
from support.embedded import url_of
from support.waits import PATIENCE_SECONDS

from signal_pipeline.postgres.embedded import (
    running_url,
)
from signal_pipeline.postgres.urls import with_database

HOLD = (
    "import sys; from pathlib import Path; from signal_pipeline.postgres.embedded import"
    " start_embedded\nprint(start_embedded(Path(sys.argv[1])), flush=True); sys.stdin.read()"
)
Hold = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of its own, without data yet."""
    return tmp_path / "home"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has run and was stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    process = start_command(folder / "home", cwd=folder, program=HOLD)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert running_url(folder / "home") is None
    return folder / "home"


@pytest.fixture
def made(stopped: Path, home: Path) -> None:
    """Data in `home`, which need not be made anew."""
    subprocess.run(["cp", "-Rp", stopped, home], check=True)


@pytest.fixture
def hold(home: Path, tmp_path: Path) -> Iterator[Hold]:
    """Starts a process that uses the server of `home` until its stdin is closed."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(start_command(home, cwd=tmp_path, program=HOLD))
        return started[-1]

    yield start
    for process in started:
        with suppress(ValueError):
            process.communicate()
    for process in psutil.process_iter():  # A failed test can leave a server of this home.
        with suppress(psutil.Error, OSError):
            if process.cwd() == str(home / "postgres"):
                process.terminate()


def leader(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_processes_that_start_at_once_share_one_server_until_the_last_leaves(
    home: Path, hold: Hold
) -> None:
    processes = [hold() for _ in range(3)]
    urls = {url_of(process) for process in processes}
    assert len(urls) == 1
    url = urls.pop()
    assert running_url(home) == url
    for process in processes[:2]:
        process.communicate()
        assert process.returncode == 0
    assert answers(url)
    processes[2].communicate()
    assert not answers(url)
    assert running_url(home) is None


@pytest.mark.usefixtures("made")
def test_a_killed_user_does_not_keep_the_server(home: Path, hold: Hold) -> None:
    killed = hold()
    url = url_of(killed)
    killed.kill()
    killed.communicate()
    assert answers(url)
    other = hold()
    assert url_of(other) == url
    other.communicate()
    assert not answers(url)


@pytest.mark.usefixtures("made")
def test_a_killed_server_starts_again_with_its_data(home: Path, hold: Hold) -> None:
    first = hold()
    url = url_of(first)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table kept as select 7 as number")
    server = psutil.Process(leader(home))
    for process in [server, *server.children(recursive=True)]:
        process.kill()
    server.wait(10)
    assert running_url(home) is None
    second = hold()
    with psycopg.connect(url_of(second)) as connection:
        assert connection.execute("select number from kept").fetchone() == (7,)


@pytest.mark.usefixtures("made")
def test_a_pid_file_whose_number_is_another_program_is_no_server(home: Path, hold: Hold) -> None:
    first = hold()
    url_of(first)
    file = home / "postgres" / "postmaster.pid"
    text = file.read_text()
    first.communicate()
    _, _, rest = text.partition("\n")
    file.write_text(f"{os.getpid()}\n{rest}")
    assert running_url(home) is None
    assert answers(url_of(hold()))


@pytest.mark.usefixtures("made")
def test_a_server_that_takes_no_connection_is_an_error_of_ours(home: Path, hold: Hold) -> None:
    """`dev` and `serve` try again after such an error. Any other would end them."""
    url = with_database(url_of(hold()), "template1")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter database postgres with allow_connections false")
        _, error = hold().communicate()
        connection.execute("alter database postgres with allow_connections true")
    assert "EmbeddedError: the embedded PostgreSQL runs, but could not be prepared" in error
    assert answers(url_of(hold()))


def test_a_half_made_data_folder_is_set_aside(home: Path, hold: Hold) -> None:
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "PG_VERSION").write_text("18\n")
    assert answers(url_of(hold()))
    assert len(list(home.glob("postgres.half-made-*"))) == 1


def test_data_whose_settings_were_deleted_stay(home: Path, hold: Hold) -> None:
    first = hold()
    with psycopg.connect(url_of(first), autocommit=True) as connection:
        connection.execute("create table kept as select 7 as number")
    first.communicate()
    (home / "postgres" / "signal.conf").unlink()
    with psycopg.connect(url_of(hold())) as connection:
        assert connection.execute("select number from kept").fetchone() == (7,)
        assert connection.execute("show log_error_verbosity").fetchone() == ("terse",)


def test_the_settings_are_in_force(hold: Hold) -> None:
    with psycopg.connect(url_of(hold())) as connection:
        shown = dict(connection.execute("select name, setting from pg_settings").fetchall())
    expected = {
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "TimeZone": "UTC",
        "jit": "off",
        "work_mem": "32768",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
    }
    assert {name: shown[name] for name in expected} == expected
    memory = psutil.virtual_memory().total // 2**20
    assert int(shown["shared_buffers"]) * 8 // 1024 == max(128, min(2048, memory // 8))


@pytest.mark.usefixtures("made")
def test_the_log_holds_no_value_of_a_failed_statement(home: Path, hold: Hold) -> None:
    url = url_of(hold())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table t (note text primary key check (length(note) < 30))")
        for value in ("private-1", "private-1", "private-" + "2" * 30):
            with suppress(psycopg.IntegrityError):
                connection.execute("insert into t values (%s)", [value])
        with suppress(psycopg.errors.InvalidTextRepresentation):
            connection.execute("select 'private-3'::int")
    logs = [path for path in home.rglob("*") if path.is_file() and "log" in path.name]
    texts = [path.read_bytes() for path in logs]
    assert any(b"violates unique constraint" in text for text in texts)
    for value in (b"private-1", b"private-2", b"select "):
        assert not any(value in text for text in texts)


@pytest.mark.usefixtures("made")
def test_the_last_user_stops_a_server_that_another_process_started_again(
    home: Path, hold: Hold
) -> None:
    first = hold()
    url_of(first)
    killed = psutil.Process(leader(home))
    killed.send_signal(signal.SIGQUIT)
    killed.wait(PATIENCE_SECONDS)
    second = hold()
    url_of(second)
    again = psutil.Process(leader(home))
    second.communicate()
    assert again.is_running(), "the first process still counts"
    first.communicate()
    again.wait(PATIENCE_SECONDS)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    "count", ["[12", f"[{os.getpid()}]"], ids=["half written", "another program's number"]
)
def test_the_wheels_own_count_of_users_keeps_no_server(home: Path, hold: Hold, count: str) -> None:
    user = hold()
    url_of(user)
    server = psutil.Process(leader(home))
    (home / "postgres" / ".handle_pids.json").write_text(count)
    assert url_of(hold()) == running_url(home)
    for process in (user, hold()):
        process.communicate()
    assert server.is_running(), "the second process still counts"


@pytest.mark.usefixtures("made")
def test_a_zombie_is_no_user(home: Path, hold: Hold) -> None:
    killed, other = hold(), hold()
    assert url_of(killed) == url_of(other)
    server = psutil.Process(leader(home))
    killed.kill()
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:  # Nobody has waited for it.
        time.sleep(0.01)
    other.communicate()
    server.wait(PATIENCE_SECONDS)


@pytest.mark.usefixtures("made")
def test_a_pid_file_that_names_another_server_ends_neither(
    home: Path, hold: Hold, tmp_path: Path
) -> None:
    user, neighbour = hold(), start_command(tmp_path / "other", cwd=tmp_path, program=HOLD)
    url_of(user)
    other_url = url_of(neighbour)
    server = psutil.Process(leader(home))
    for process in [server, *server.children(recursive=True)]:
        process.kill()
    server.wait(10)
    file = home / "postgres" / "postmaster.pid"
    file.write_text(file.read_text().replace(str(server.pid), str(leader(tmp_path / "other")), 1))
    assert running_url(home) is None
    user.communicate()
    assert answers(other_url)
    neighbour.communicate()
    assert not answers(other_url)


@pytest.mark.parametrize(
    ("file", "number"),
    [
        ("PG_VERSION", signal.SIGTERM),
        ("signal.conf", signal.SIGINT),
        ("postmaster.pid", signal.SIGHUP),
    ],
)
def test_a_command_that_is_told_to_end_while_the_server_starts_leaves_none(
    home: Path, tmp_path: Path, file: str, number: int
) -> None:
    process = start_command(
        "migrate", cwd=tmp_path, SIGNAL_HOME=str(home), SIGNAL_DATABASE_URL=None
    )
    while not (home / "postgres" / file).exists():
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    process.send_signal(signal.SIGTERM)  # A second one changes nothing.
    _, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert servers(home) == []


def servers(home: Path) -> list[psutil.Process]:
    """The processes of PostgreSQL on the data of a home."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == "postgres" and process.cwd() == str(home / "postgres"):
                found.append(process)
    return found


AGAIN = (
    "import os, signal, sys, psutil; from pathlib import Path; from"
    " signal_pipeline.postgres.embedded import start_embedded\nhome = Path(sys.argv[1]);"
    " start_embedded(home)\nserver = psutil.Process(int((home / 'postgres' /"
    " 'postmaster.pid').read_text().split()[0]))\nserver.send_signal(signal.SIGQUIT);"
    " server.wait(30); start_embedded(home)\n"
)


@pytest.mark.usefixtures("made")
def test_a_process_that_started_the_server_twice_stops_it_and_ends_quietly(
    home: Path, tmp_path: Path
) -> None:
    process = start_command(home, cwd=tmp_path, program=AGAIN)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert running_url(home) is None


@pytest.mark.usefixtures("made")
def test_a_server_whose_folder_may_not_be_read_is_still_known(
    home: Path, hold: Hold, tmp_path: Path
) -> None:
    """As in a container, where root cannot see in which folder another user's process works."""
    holder = hold()
    url = url_of(holder)
    blind = (
        "import psutil\n"
        "def denied(process): raise psutil.AccessDenied(process.pid)\n"
        "psutil.Process.cwd = denied\n" + HOLD
    )
    other = start_command(home, cwd=tmp_path, program=blind)
    before = leader(home)
    assert url_of(other) == url
    other.communicate()
    assert leader(home) == before
    assert psutil.pid_exists(before)
