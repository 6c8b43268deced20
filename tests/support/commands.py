"""The command as a user runs it: a real process with the environment of the test.

A command that a test waits for is a fork of a process that has loaded what it loads
(`support/forked.py`). What a test starts in the background starts anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.forked import run_forked

Done = subprocess.CompletedProcess[str]
Signal = Callable[..., Done]
PROGRAM = [sys.executable, "-c", "from signal_pipeline.cli import main; main()"]


def environment_with(changes: dict[str, str | None]) -> dict[str, str]:
    """The present environment, with changes; a change to None removes a variable."""
    merged = {**os.environ, "COLUMNS": "200", **changes}
    return {name: value for name, value in merged.items() if value is not None}


def run_command(
    *arguments: object,
    cwd: Path,
    stdin: bytes = b"",
    program: str = PROGRAM[-1],
    **changes: str | None,
) -> Done:
    """Run `signal-pipeline`, or another Python program, to its end.

    Keyword arguments change the environment.
    """
    env = environment_with(changes)
    return run_in(env, *arguments, cwd=cwd, stdin=stdin, program=program)


def run_in(
    env: dict[str, str],
    *arguments: object,
    cwd: Path,
    stdin: bytes = b"",
    program: str = PROGRAM[-1],
) -> Done:
    """Run it in this environment."""
    words = [*map(str, arguments)]
    command = [*PROGRAM[:-1], program, *words]
    if program == PROGRAM[-1] and (answer := run_forked(words, env, cwd, stdin)):
        code, stdout, stderr = answer
    else:
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=env, cwd=cwd, check=False
        )
        code, stdout, stderr = done.returncode, done.stdout, done.stderr
    return Done(command, code, stdout.decode(), stderr.decode())


def start_command(
    *arguments: object, cwd: Path, program: str = PROGRAM[-1], **changes: str | None
) -> subprocess.Popen[str]:
    """Start `signal-pipeline`, or another Python program, in the background.

    Its stdin ends with `communicate`.
    """
    pipe = subprocess.PIPE
    command, env = [*PROGRAM[:-1], program, *map(str, arguments)], environment_with(changes)
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=cwd, text=True
    )


def last_json(done: Done | str) -> dict[str, object]:
    """The JSON object at the end of stdout, of a command or as a text."""
    stdout = done if isinstance(done, str) else done.stdout
    value = json.loads(stdout.splitlines()[-1])
    assert isinstance(value, dict)
    return value


def error_of(done: Done | str) -> str:
    """The one line of an error, of a command or on its stderr; fails on a traceback."""
    stderr = done if isinstance(done, str) else done.stderr
    assert "Traceback" not in stderr
    lines = [text for text in stderr.splitlines() if text.startswith("error: ")]
    assert len(lines) == 1, stderr
    return lines[0]
