"""Where the embedded PostgreSQL keeps its data, and which folders it refuses before it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from signal_pipeline.postgres import embedded
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.postgres.embedded_folders import EmbeddedError, data_folder


def test_data_of_another_major_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(parents=True)
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"is of PostgreSQL 16, this is 18: .*pg_dump"):
        start_embedded(tmp_path)
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "caf\udce9", 'a"b', "a$b", "a`b", "a\\b"])
def test_a_folder_that_the_server_cannot_use_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddedError, match="^SIGNAL_HOME: ") as refused:
        start_embedded(tmp_path / name)
    assert name not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_data_of_root_never_stands_below_a_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert data_folder(tmp_path) == tmp_path / "postgres"
    homes = ("/root", "/root/project/.signal", "/home/someone/.signal", "/root/caf\udce9")
    for home in map(Path, homes):
        assert data_folder(home).is_relative_to("/var/lib/signal-pipeline")
    assert data_folder(Path("/root/a")) != data_folder(Path("/root/b"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert data_folder(Path("/home/someone/.signal")) == Path("/home/someone/.signal/postgres")


def test_data_that_an_older_version_kept_in_a_home_directory_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18")
    monkeypatch.setattr(embedded, "data_folder", lambda home: tmp_path / "elsewhere" / "data")
    with pytest.raises(EmbeddedError, match=f"mv {tmp_path}/postgres {tmp_path}/elsewhere/data"):
        start_embedded(tmp_path)
