"""`python -m bench` says in one line what is wrong with a call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--against", "no-such-revision"],
            "this repository has no revision 'no-such-revision': name a commit",
        ),
        (
            ["--against", "HEAD", "--only", "demo"],
            "--only: no part 'demo'; there are start, events",
        ),
        (
            ["--against", "HEAD", "--document"],
            "--document and --fail-fast do not go with --against",
        ),
        (
            ["--against", "HEAD", "--rounds", "0"],
            "argument --rounds: '0' is not a whole number of at least 1",
        ),
        (
            ["--against", "HEAD", "--days", "-3"],
            "argument --days: '-3' is not a whole number of at least 1",
        ),
    ],
)
def test_a_wrong_call_is_refused(
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    check_refused(ended.value.code, *capsys.readouterr(), complaint)


def test_a_wrong_call_ends_the_process_with_2() -> None:
    command = [sys.executable, "-m", "bench", "--document", "--only", "ingest"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    check_refused(done.returncode, done.stdout, done.stderr, "--document does not go with --only")


def check_refused(code: object, stdout: str, stderr: str, complaint: str) -> None:
    assert code == 2
    assert complaint in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    assert not stdout
