"""Installs everything that a lock pins into the environment of the Python that runs this file.

    .venv/bin/python tools/install.py [--installer pip] LOCK

uv does it in a tenth of pip's time. pip installs uv first, from `uv.requirements.lock`, so that a
machine needs nothing but Python and its module venv. Where uv cannot do it, pip does, and a line
says so. Both check the hash of every file. Only the standard library is used here.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV_LOCK = ROOT / "uv.requirements.lock"
LOCKED = ("--quiet", "--no-deps", "--require-hashes", "-r")
PROJECT = ("--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))

# What pip's settings are called in uv's environment, and what is between several values there.
# The first ones say where packages are. They are left out if uv's own variables say so already.
_INDEX_SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
}
_CONNECTION_SETTINGS = {
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
_UV_INDEX_VARIABLES = (
    *(name for name, _ in _INDEX_SETTINGS.values()),
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)


def main() -> int:
    """Install with the installer that was asked for; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--installer", choices=("uv", "pip"), default="uv")
    parser.add_argument("lock", type=Path)
    arguments = parser.parse_args()
    if arguments.installer == "uv":
        if _by_uv(arguments.lock):
            return 0
        print("uv cannot install here: pip does it, slower, with the same lock and hashes")
    return 0 if _by_pip(*LOCKED, str(arguments.lock)) and _by_pip(*PROJECT) else 1


def _by_pip(*arguments: str) -> bool:
    return _succeeds([*_pip(), "install", "--disable-pip-version-check", *arguments])


def _by_uv(lock: Path) -> bool:
    # Few of uv's files are Python, so compiling them would be for nothing.
    if not _by_pip("--no-compile", *LOCKED, str(UV_LOCK)):
        return False
    settings = pip_settings()
    environment = uv_environment(os.environ, settings)
    install = [str(Path(sys.executable).with_name("uv")), "pip", "install"]
    install += ["--python", sys.executable, *uv_options(os.environ, settings)]
    return _succeeds([*install, *LOCKED, str(lock)], environment) and _succeeds(
        [*install, *PROJECT], environment
    )


def _succeeds(command: list[str], environment: Mapping[str, str] | None = None) -> bool:
    try:
        return subprocess.run(command, env=environment, check=False).returncode == 0
    except OSError:  # There is no uv for this machine, or it does not run here.
        return False


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip"]


def pip_settings() -> dict[str, str]:
    """Return the settings of pip's files and variables that hold for `pip install`."""
    listed = subprocess.run(
        [*_pip(), "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = dict(re.findall(r"(?m)^(\S+?)=(.*)$", listed))
    # The later ones win: a section for all commands, the one of `install`, the environment.
    return {
        key.removeprefix(section): str(ast.literal_eval(value))
        for section in ("global.", "install.", ":env:.")
        for key, value in found.items()
        if key.startswith(section)
    }


def uv_environment(own: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv finds packages where pip finds them.

    uv reads neither pip's files nor its variables. What `own` says to uv holds.
    """
    pip = {"timeout": pip.get("default-timeout", ""), **pip}
    index_settings = {} if _has_index(own) else _INDEX_SETTINGS
    translated = {
        name: between.join(pip[key].split())
        for key, (name, between) in (index_settings | _CONNECTION_SETTINGS).items()
        if pip.get(key)
    }
    if "cert" not in pip:
        translated["UV_SYSTEM_CERTS"] = "1"  # As pip, so that a company's own authority is known.
    # Of several indexes uv asks only the first that knows a package, since another could smuggle in
    # one of the same name. Here the hashes prevent that.
    translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {**translated, **{name: own[name] for name in own if name != "UV_NO_VERIFY_HASHES"}}


def uv_options(own: Mapping[str, str], pip: Mapping[str, str]) -> list[str]:
    """Return the options for a setting of pip that has no variable of uv: no index at all."""
    no_index = pip.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t")
    return ["--no-index"] if no_index and not _has_index(own) else []


def _has_index(own: Mapping[str, str]) -> bool:
    """Return whether uv's own variables say where packages are."""
    return any(name in own for name in _UV_INDEX_VARIABLES)


if __name__ == "__main__":
    sys.exit(main())
