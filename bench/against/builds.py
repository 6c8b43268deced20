"""The two builds: this tree, and another revision in a folder and a venv of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".venv-against"
# This tree's installer installs every revision. All that it needs of a revision is its lock.
INSTALLER = ("tools/install.py", "uv.requirements.lock")


class BuildError(Exception):
    """A revision cannot be built; the text says why in one line."""


@dataclass(frozen=True, slots=True)
class Build:
    """An installed tree. `side` is `revision` or `this`; `name` is what the table says."""

    side: str
    name: str
    folder: Path
    python: Path

    @property
    def command(self) -> str:
        """The path of its `signal-pipeline`."""
        return str(self.python.with_name("signal-pipeline"))


def this_tree() -> Build:
    """Return the build of the working folder; its name says if files differ from the commit."""
    described = f"{_git('rev-parse', '--short', 'HEAD')}"
    if _git("status", "--porcelain", "--untracked-files=no"):
        described += " with uncommitted changes"
    _compile(Path(sys.executable), ROOT / "signal_pipeline")
    return Build("this", described, ROOT, Path(sys.executable))


def build_revision(revision: str) -> Build:
    """Return the build of a revision, which is installed once and then reused.

    Raises BuildError if this repository has no such revision, or if it cannot be installed.
    """
    commit = resolve(revision)
    folder = KEPT / commit[:12]
    python, installed = folder / ".venv" / "bin" / "python", folder / ".venv" / ".installed"
    if not installed.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _extract(commit, folder)
        _install(folder, python)
        installed.touch()
    return Build("revision", commit[:7], folder, python)


def resolve(revision: str) -> str:
    """Return the full id of a revision's commit. Raises BuildError if there is none."""
    try:
        return _git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
    except subprocess.CalledProcessError:
        raise BuildError(
            f"this repository has no revision {revision!r}: name a commit, a branch or a tag (a"
            " shallow clone lacks old ones: git fetch --unshallow)"
        ) from None
    except OSError:
        raise BuildError("git is not installed: another revision comes from git") from None


def _extract(commit: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    if not (folder / "requirements.lock").exists():
        raise BuildError(f"revision {commit[:7]} has no requirements.lock: it cannot be installed")
    for name in INSTALLER:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def _install(folder: Path, python: Path) -> None:
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder / ".venv")], check=True)
        installer = [str(python), str(folder / "tools" / "install.py")]
        subprocess.run([*installer, str(folder / "requirements.lock")], check=True)
    except subprocess.CalledProcessError:
        raise BuildError(
            f"the revision in {folder.relative_to(ROOT)} cannot be installed: see above"
        ) from None
    _compile(python, folder / ".venv" / "lib")
    _compile(python, folder / "signal_pipeline")


def _compile(python: Path, folder: Path) -> None:
    """Compile a folder, so that neither build compiles anything while it is measured.

    A package can contain files for other versions of Python, so failures do not count.
    """
    command = [str(python), "-m", "compileall", "-qq", "-j", "0", str(folder)]
    subprocess.run(command, capture_output=True, check=False)


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
