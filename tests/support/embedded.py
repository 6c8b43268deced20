"""Processes that hold an embedded PostgreSQL."""

from __future__ import annotations

import subprocess


def url_of(process: subprocess.Popen[str]) -> str:
    """The URL that a holding process got; waits for it."""
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, process.communicate()
    return url
