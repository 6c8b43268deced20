"""`python -m bench` says in one line what is wrong with a call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--document", "--only", "ingest"], "--document does not go with --only"),
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
def test_a_wrong_call_is_refused(arguments: list[str], complaint: str) -> None:
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not done.stdout
