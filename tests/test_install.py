"""`make install` goes through uv where uv works, and through pip elsewhere; both check hashes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools.install import pip_settings, uv_environment, uv_options

ROOT = Path(__file__).parents[1]
# What builds an editable project: the least that `make install` needs in its lock.
FEW = ("editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers")
FALLS_BACK = "uv cannot install here: pip does it"


@pytest.fixture(scope="module", autouse=True)
def index() -> None:
    """Skip where no package index answers."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--no-deps", "--require-hashes", "-r", str(ROOT / "uv.requirements.lock")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no package index answers here")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh clone whose lock pins only what builds the project."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE", "uv.requirements.lock"):
        shutil.copy(ROOT / name, folder)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("tools", "dbt_like_sql", "signal_pipeline"):
        shutil.copytree(ROOT / name, folder / name)
    entries = re.split(r"(?m)^(?=[a-z])", (ROOT / "requirements.lock").read_text())
    few = [entry for entry in entries if entry.partition("==")[0] in FEW]
    assert len(few) == len(FEW)
    (folder / "requirements.lock").write_text("".join(few))
    return folder


@pytest.fixture(scope="module")
def environment_with_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment, as `python -m venv` makes it."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def python(environment_with_pip: Path, project: Path, tmp_path: Path) -> Path:
    """A Python that finds the project's environment made, since making it takes seconds."""
    made = project / ".venv"
    shutil.copytree(environment_with_pip, made, symlinks=True, copy_function=os.link)
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = "-m venv .venv" ] || exec {shlex.quote(sys.executable)} "$@"\n'
    )
    program.chmod(0o755)
    return program


def install(
    project: Path, *arguments: str, python: Path = Path(sys.executable), **changes: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run `make install`; return how it ended, and the folder of the programs."""
    environment = {**os.environ, **changes}
    for name in ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    done = subprocess.run(
        ["make", "install", f"PYTHON={python}", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, project / ".venv" / "bin"


def runs(programs: Path) -> bool:
    """True if the project itself and its lock are installed."""
    program = "import hatchling, signal_pipeline; print(signal_pipeline.__file__)"
    done = subprocess.run(
        [programs / "python", "-c", program], capture_output=True, text=True, check=False, cwd="/"
    )
    return done.stdout.strip() == str(programs.parents[1] / "signal_pipeline" / "__init__.py")


def test_uv_installs_the_lock_and_the_project(project: Path) -> None:
    done, programs = install(project)
    assert done.returncode == 0, done.stderr
    assert FALLS_BACK not in done.stdout
    assert runs(programs)


def test_where_uv_cannot_install_pip_does_and_a_line_says_so(
    project: Path, python: Path, tmp_path: Path
) -> None:
    changes = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "empty")}
    done, programs = install(project, python=python, **changes)
    assert done.returncode == 0, done.stderr
    assert FALLS_BACK in done.stdout
    assert runs(programs)


def test_without_uv_at_all(project: Path, python: Path) -> None:
    done, programs = install(project, "INSTALLER=pip", python=python)
    assert done.returncode == 0, done.stderr
    assert runs(programs)
    assert not (programs / "uv").exists()


def with_other_hashes(lock: Path) -> None:
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))


def test_a_file_with_another_hash_is_not_installed(project: Path, python: Path) -> None:
    """Not even if uv is told to trust it."""
    with_other_hashes(project / "requirements.lock")
    done, programs = install(project, python=python, UV_NO_VERIFY_HASHES="1")
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not runs(programs)
    assert not (project / ".venv" / ".installed").exists()


def test_a_uv_with_another_hash_is_not_used(project: Path, python: Path) -> None:
    with_other_hashes(project / "uv.requirements.lock")
    done, programs = install(project, python=python)
    assert FALLS_BACK in done.stdout
    assert runs(programs)
    assert not (programs / "uv").exists()


def test_settings_of_pip_come_from_its_files_and_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a.example.org/simple\ntimeout = 20\n"
        "trusted-host =\n  a.example.org\n  b.example.org\n"
        "[install]\nindex-url = https://b.example.org/simple\n[download]\nproxy = p.example.org\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_TIMEOUT", "30")
    found = pip_settings()
    assert found["index-url"] == "https://b.example.org/simple"
    assert found["timeout"] == "30"
    assert found["trusted-host"].split() == ["a.example.org", "b.example.org"]
    assert "proxy" not in found


FIRST, SECOND = "https://u:p@a.example.org/simple", "https://b.example.org/simple"
TRANSLATIONS = {
    "an index": ({"index-url": FIRST}, {"UV_DEFAULT_INDEX": FIRST}),
    "more indexes": (
        {"extra-index-url": f"\n{FIRST}\n{SECOND}"},
        {"UV_INDEX": f"{FIRST} {SECOND}"},
    ),
    "folders": ({"find-links": "/wheels /more"}, {"UV_FIND_LINKS": "/wheels,/more"}),
    "an authority": ({"cert": "/ca.pem"}, {"SSL_CERT_FILE": "/ca.pem"}),
    "a certificate": ({"client-cert": "/me.pem"}, {"SSL_CLIENT_CERT": "/me.pem"}),
    "a proxy": ({"proxy": "http://p.example.org:3128"}, {"ALL_PROXY": "http://p.example.org:3128"}),
    "patience": ({"default-timeout": "180"}, {"UV_HTTP_TIMEOUT": "180"}),
    "a host": ({"trusted-host": "a.example.org"}, {"UV_INSECURE_HOST": "a.example.org"}),
}
ALWAYS = ("UV_INDEX_STRATEGY", "UV_SYSTEM_CERTS")


@pytest.mark.parametrize(("pip", "uv"), TRANSLATIONS.values(), ids=TRANSLATIONS)
def test_uv_is_told_what_pip_knows(pip: dict[str, str], uv: dict[str, str]) -> None:
    told = uv_environment({}, pip)
    assert {name: told[name] for name in told if name not in ALWAYS} == uv


def test_what_uv_was_told_itself_holds() -> None:
    pip = {"index-url": FIRST, "no-index": "1", "timeout": "5"}
    own = {"UV_INDEX_URL": SECOND, "UV_HTTP_TIMEOUT": "9"}
    told = uv_environment(own, pip)
    assert told["UV_INDEX_URL"] == SECOND
    assert told["UV_HTTP_TIMEOUT"] == "9"
    assert "UV_DEFAULT_INDEX" not in told
    assert uv_options(own, pip) == []
    assert uv_options({}, pip) == ["--no-index"]
    assert uv_options({}, {"no-index": "0"}) == []


def test_uv_finds_a_wheel_in_the_folder_that_pip_is_told_of(tmp_path: Path) -> None:
    """With no index at all, as on a machine without the net."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed here")
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "only_here-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("only_here.py", "")
        info = "only_here-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: only-here\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    own = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    pip = {"no-index": "1", "find-links": str(folder)}
    environment = uv_environment(own, pip)
    target = tmp_path / "target"
    command = [uv, "pip", "install", "--python", sys.executable, "--target", target]
    command += [*uv_options(own, pip), "only-here"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (target / "only_here.py").exists()
