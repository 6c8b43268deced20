"""The commands `ingest` and `simulate`, as a user runs them: real processes."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import PROGRAM, Signal, error_of, last_json
from support.days import yesterday
from support.traffic import line, traffic

from signal_pipeline.ingest.compressed import zstd
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


def test_ingest_prints_closed_books(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    good = traffic(yesterday(), 10)
    file.write_bytes(b"\n".join([*good, good[0], b"torn {", line(eventType="no_such_type"), b""]))
    done = signal("ingest", file, "--json")
    assert done.returncode == 0
    assert last_json(done) == {
        "received": 13,
        "accepted": 10,
        "duplicate": 1,
        "dropped": {"malformed": 1, "unknown_event_type": 1},
    }
    assert file.exists()
    again = last_json(signal("ingest", file, "--json"))
    assert (again["accepted"], again["duplicate"]) == (0, 11)


def test_ingest_reads_stdin(signal: Signal) -> None:
    done = signal("ingest", "-", "--json", stdin=b"\n".join(traffic(yesterday(), 3)))
    assert last_json(done)["accepted"] == 3


def test_ingest_reads_marked_and_compressed_content_of_any_name_and_from_a_pipe(
    signal: Signal, tmp_path: Path
) -> None:
    lines = [b"".join(text + b"\n" for text in traffic(yesterday(), 10, seed)) for seed in range(4)]
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf" + lines[0])
    (tmp_path / "events.log").write_bytes(gzip.compress(lines[1]))
    (tmp_path / "plain.gz").write_bytes(lines[2])
    done = signal(
        "ingest", "marked", "events.log", "plain.gz", "-", "--json", stdin=zstd.compress(lines[3])
    )
    assert done.returncode == 0
    assert last_json(done) == {"received": 40, "accepted": 40, "duplicate": 0, "dropped": {}}
    assert "warning" not in done.stderr


def test_files_of_another_form_are_named_and_the_others_ingested(
    signal: Signal, tmp_path: Path
) -> None:
    good = b"".join(text + b"\n" for text in traffic(yesterday(), 10))
    (tmp_path / "array.json").write_bytes(b"[" + line(route="/secret-mark") + b"]")
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "short.gz").write_bytes(gzip.compress(good)[:-1])
    done = signal(
        "ingest",
        "array.json",
        "good",
        "short.gz",
        "-",
        "--json",
        stdin=good.decode().encode("utf-16"),
    )
    assert done.returncode == 1
    assert last_json(done) == {"received": 20, "accepted": 10, "duplicate": 10, "dropped": {}}
    error = error_of(done)
    assert "array.json: looks like a JSON array, not like NDJSON" in error
    assert "short.gz: holds gzip data that is cut short" in error
    assert "-: looks like UTF-16 text" in error
    assert "good" not in error.replace("short.gz", "")
    assert "secret-mark" not in done.stdout + done.stderr


def test_the_counts_of_the_other_files_are_shown_though_the_disk_cannot_read_one(
    signal: Signal, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"\n".join(traffic(yesterday(), 10)))
    # Nothing is mapped at the beginning of a process's memory, so this read fails.
    done = signal("ingest", "/proc/self/mem", "good", "--json")
    assert done.returncode == 1
    assert last_json(done)["accepted"] == 10
    assert "/proc/self/mem: cannot be read to its end (Input/output error)" in error_of(done)


def test_the_counts_of_what_is_stored_are_shown_though_postgresql_refuses_the_rest(
    signal: Signal, tmp_path: Path, connection: Connection
) -> None:
    connection.execute("alter table signal.books add check (app_name <> 'cms')")
    (tmp_path / "first").write_bytes(line(appName="journeys-admin"))
    (tmp_path / "second").write_bytes(line(appName="cms"))
    done = signal("ingest", "first", "second", "--json")
    assert (done.returncode, last_json(done)["accepted"]) == (1, 1)
    assert "CheckViolation" in error_of(done)


@pytest.mark.parametrize("command", ["ingest -", "subject --day 2026-03-01"])
def test_a_closed_standard_input_is_named(signal: Signal, tmp_path: Path, command: str) -> None:
    assert signal("ingest", "-").returncode == 0
    closed = _run_without("0<&-", tmp_path, *command.split())
    assert (closed.returncode, "no standard input" in error_of(closed)) == (1, True)


@pytest.mark.parametrize(
    ("stream", "command"), [("0<&-", "sql"), ("1>&-", "status"), ("2>&-", "ingest -")]
)
def test_a_command_works_without_a_stream_that_it_does_not_need(
    signal: Signal, tmp_path: Path, stream: str, command: str
) -> None:
    done = _run_without(stream, tmp_path, *command.split())
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "sql",
        "schema",
        "catalogue --typescript",
        "simulate --days 1 --events-per-day 5",
        "status --json",
    ],
)
def test_what_cannot_be_printed_is_an_error(signal: Signal, tmp_path: Path, command: str) -> None:
    lost = _run_without("1>&-", tmp_path, *command.split())
    assert (lost.returncode, error_of(lost)) == (
        1,
        "error: there is no standard output: it was closed",
    )


def test_a_child_has_streams_although_they_are_closed(tmp_path: Path) -> None:
    """Otherwise its messages would go into the next file that it opens."""
    program = (
        "import subprocess, sys\n"
        "from signal_pipeline.system.standard_streams import open_closed_streams\n"
        "open_closed_streams()\n"
        "child = 'import os; print(all(os.fstat(n) for n in range(3)), file=open(3, \"w\"))'\n"
        "with open('said', 'w') as said:\n"
        "    assert said.fileno() == 3\n"
        "    subprocess.run([sys.executable, '-c', child], pass_fds=[3], check=True)\n"
    )
    closed = 'exec "$@" 0<&- 1>&- 2>&-'
    command = ["sh", "-c", closed, "sh", sys.executable, "-c", program]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert (tmp_path / "said").read_text() == "True\n"


def _run_without(stream: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a stream that the shell has closed."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}', "sh", *PROGRAM, *arguments],
        input="" if "<" not in stream else None,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_a_file_that_is_mostly_malformed_is_warned_of_without_its_text(
    signal: Signal, tmp_path: Path
) -> None:
    good = traffic(yesterday(), 4)
    (tmp_path / "[b]half").write_bytes(
        b"\n".join([b"", good[0], b"secret-mark {", b"secret-mark", b"", good[1]])
    )
    (tmp_path / "[b]most").write_bytes(
        b"\n".join([b"", good[2], b"secret-mark {", b"secret-mark", b"", b"["])
    )
    done = signal("ingest", "[b]half", "[b]most")
    assert done.returncode == 0
    warnings = [text for text in done.stderr.splitlines() if "warning" in text]
    assert warnings == ["warning: [b]most: 3 of 4 lines are malformed; the first is line 3"]
    assert "secret-mark" not in done.stdout + done.stderr


def test_a_missing_file_and_a_directory_are_named(signal: Signal, tmp_path: Path) -> None:
    missing = signal("ingest", tmp_path / "none.ndjson")
    assert (missing.returncode, "no such file" in error_of(missing)) == (1, True)
    folder = signal("ingest", tmp_path)
    assert (folder.returncode, "is a directory" in error_of(folder)) == (1, True)


def test_an_empty_file_is_no_event(signal: Signal, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = signal("ingest", tmp_path / "empty", "--json")
    assert done.returncode == 0
    assert last_json(done) == {"received": 0, "accepted": 0, "duplicate": 0, "dropped": {}}


def test_binary_noise_is_counted_and_the_good_line_kept(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(
        bytes(range(256)) * 40 + b"\n" + traffic(yesterday(), 1)[0] + b"\n\xff\xfe\x00"
    )
    counts = last_json(signal("ingest", file, "--json"))
    assert counts["accepted"] == 1
    assert set(counts["dropped"]) == {"malformed"}  # type: ignore[call-overload]


def test_a_line_of_50_mb_is_one_drop(signal: Signal, tmp_path: Path) -> None:
    file = tmp_path / "long"
    with file.open("wb") as stream:
        stream.write(b'{"eventType":"' + b"x" * 50_000_000 + b'"}\n')
        stream.write(traffic(yesterday(), 1)[0] + b"\n")
    counts = last_json(signal("ingest", file, "--json"))
    assert (counts["received"], counts["accepted"], counts["dropped"]) == (2, 1, {"malformed": 1})


def test_a_later_missing_file_stops_before_the_first_is_read(
    signal: Signal, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(line())
    assert signal("ingest", "a", "none").returncode == 1
    assert last_json(signal("ingest", "a", "--json"))["accepted"] == 1


def test_simulate_writes_the_same_file_twice(signal: Signal, tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = (
            "--days",
            2,
            "--events-per-day",
            300,
            "--seed",
            7,
            "--end",
            "2026-05-06",
            "--out",
            name,
        )
        assert signal("simulate", *arguments).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len((tmp_path / "a").read_bytes().splitlines()) > 500
