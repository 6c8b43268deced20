"""Finds every process that a command has started, at any depth, so that the command can stop them.

The command puts a mark into the environment of what it starts, and children inherit it. A process
that others have started never has the mark. A search by parent would miss orphans, which get
another parent. A search by process group would miss a child with a group of its own.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress

import psutil

from signal_pipeline.system.child_environments import STARTED_BY

CHILD_PATIENCE_SECONDS = 10  # For the direct children, which stop their own children.
ASKED_PATIENCE_SECONDS = 5  # For all others, after they are asked too.
KILL_PATIENCE_SECONDS = 30  # After all are asked, until this module gives up.
LOOK_SECONDS = 0.1

Mark = Mapping[str, str]


def new_mark() -> Mark:
    """Return the variable to add to the environment of what is started."""
    return {STARTED_BY: uuid.uuid4().hex}


def stop_started(mark: Mark) -> list[int]:
    """Stop every process with the mark: ask the direct children, then all, and kill what is left.

    Returns the process ids of those that are still there.
    """
    for process in _processes_with_mark(mark):
        with suppress(psutil.Error):
            if process.ppid() == os.getpid():
                process.terminate()
    if _end_within(mark, CHILD_PATIENCE_SECONDS):
        return []
    for process in _processes_with_mark(mark):
        with suppress(psutil.Error):
            process.terminate()
    give_up = time.monotonic() + KILL_PATIENCE_SECONDS
    patience = ASKED_PATIENCE_SECONDS
    while not _end_within(mark, patience) and time.monotonic() < give_up:
        for process in _processes_with_mark(mark):
            with suppress(psutil.Error):
                process.kill()
        # Look again soon: a process can have started another one just before it was killed.
        patience = 1
    return [process.pid for process in _processes_with_mark(mark)]


def _end_within(mark: Mark, seconds: float) -> bool:
    """Wait until no process has the mark; return False if that takes too long.

    Two looks in a row must find none, because a process that is inside `exec` shows no environment
    for a moment.
    """
    give_up = time.monotonic() + seconds
    unseen = 0
    while unseen < 2:
        unseen = 0 if _processes_with_mark(mark) else unseen + 1
        if unseen == 0 and time.monotonic() > give_up:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _processes_with_mark(mark: Mark) -> list[psutil.Process]:
    """Return the living processes with the mark, except PostgreSQL.

    PostgreSQL would be left alone even if it had the mark, because it ends with its last user.
    Normally it has no mark, since `postgres_environment` holds no variable of Signal.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if mark.items() <= process.environ().items() and process.name() != "postgres":
                found.append(process)
    return found
