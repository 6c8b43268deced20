"""The two builds of a comparison: the working folder, and a revision of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.against import builds
from bench.against.builds import BuildError, build_revision, resolve, this_tree
from bench.run import run_child


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, without a lock, in the place of this one."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("A project.\n")
    git(tmp_path, "add", "README.md")
    git(tmp_path, "commit", "--quiet", "-m", "Begin")
    monkeypatch.setattr(builds, "ROOT", tmp_path)
    monkeypatch.setattr(builds, "KEPT", tmp_path / ".venv-against")
    return tmp_path


@pytest.mark.parametrize("revision", ["main~1000", "", "--all", "HEAD:README.md", "HEAD..HEAD"])
def test_what_names_no_commit_is_refused(repository: Path, revision: str) -> None:
    with pytest.raises(BuildError, match="has no revision"):
        resolve(revision)
    assert not (repository / ".venv-against").exists()


def test_a_branch_and_a_tag_and_a_short_id_name_their_commit(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "other")
    git(repository, "-c", "tag.gpgSign=false", "tag", "-a", "v1", "-m", "The first")
    assert {resolve(name) for name in ("HEAD", "other", "v1", head[:8], head)} == {head}


def test_a_folder_that_is_no_repository_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BuildError, match="has no revision"):
        resolve("HEAD")


def test_a_revision_without_a_lock_is_refused(repository: Path) -> None:
    with pytest.raises(BuildError, match=r"has no requirements\.lock"):
        build_revision("HEAD")


def test_a_tree_with_uncommitted_changes_says_so(repository: Path) -> None:
    clean = this_tree().name
    assert git(repository, "rev-parse", "HEAD").startswith(clean)
    (repository / "notes.txt").write_text("git does not know this file")
    assert this_tree().name == clean
    (repository / "README.md").write_text("Another project.\n")
    assert this_tree().name == f"{clean} with uncommitted changes"


def test_another_build_does_not_import_this_tree(tmp_path: Path) -> None:
    program = "import json, os; print(json.dumps({'path': os.environ.get('PYTHONPATH')}))"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    child = run_child([sys.executable, "-c", program], environment, tmp_path)
    assert child.printed == {"path": None}
