"""The file that a person's rows are exported to."""

from __future__ import annotations

import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from signal_pipeline.privacy.subjects import SubjectError, export_rows

ROWS = ['{"route": "/mine"}'] * 1_000


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Makes every write beyond that many bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_export_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    export_rows(ROWS, file)
    assert file.read_text().splitlines() == ROWS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    with files_of_at_most(10_000), pytest.raises(SubjectError) as refused:
        export_rows(ROWS, file)
    assert str(refused.value) == f"cannot write {file}: File too large"
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_no_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_text("of another request")
    with pytest.raises(SubjectError, match="File exists"):
        export_rows(ROWS, file)
    assert file.read_text() == "of another request"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_into_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="No such file or directory"):
        export_rows(ROWS, tmp_path / "nowhere" / "rows.ndjson")


KILLED = """
import os, signal, sys
from pathlib import Path
from signal_pipeline.privacy.subjects import export_rows
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
export_rows(['{"route": "/mine"}'] * 1_000, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_an_export_that_is_killed_leaves_a_draft_that_can_be_found(
    tmp_path: Path, moment: str
) -> None:
    file = tmp_path / "rows.ndjson"
    done = subprocess.run([sys.executable, "-c", KILLED, file, moment], check=False)
    assert done.returncode == -signal.SIGKILL
    [draft] = tmp_path.iterdir()
    assert draft.name.startswith(".rows.ndjson.draft")
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    export_rows(ROWS, file)
    assert file.read_text().splitlines() == ROWS
    assert sorted(tmp_path.iterdir()) == [draft, file]
