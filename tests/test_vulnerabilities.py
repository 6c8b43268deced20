"""`make audit` never says that all is well unless every package was looked up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WELL = "audit: no known vulnerability"
UNKNOWN = "Dependency not found on PyPI and could not be audited: anyio (4.16.0)"


def _audit(folder: Path, said: str, code: int) -> subprocess.CompletedProcess[str]:
    """Run `make audit` with a pip-audit that says this and ends with this code."""
    program = folder / "bin" / "pip-audit"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    program.chmod(0o755)
    (folder / ".venv").mkdir()
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "-o", "install", "audit"]
    return subprocess.run(
        [*command, f"BIN={program.parent}"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_nothing_is_known(tmp_path: Path) -> None:
    done = _audit(tmp_path, "No known vulnerabilities found", 0)
    assert (done.returncode, done.stdout.strip()) == (0, WELL)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("ERROR:pip_audit._cli:Could not connect to the vulnerability feed", 1),
        ("Traceback (most recent call last): something", 1),
        ("", 2),
        (f"No known vulnerabilities found\n{UNKNOWN}", 0),
    ],
)
def test_what_was_not_looked_up_is_said(tmp_path: Path, said: str, code: int) -> None:
    done = _audit(tmp_path, said, code)
    assert done.returncode == 0
    assert "SKIPPED" in done.stdout
    assert WELL not in done.stdout


def test_a_vulnerability_is_a_failure(tmp_path: Path) -> None:
    done = _audit(tmp_path, f"anyio 4.16.0 CVE-2026-11111\n{UNKNOWN}", 1)
    assert done.returncode != 0
    assert "CVE-2026-11111" in done.stdout
    assert WELL not in done.stdout
