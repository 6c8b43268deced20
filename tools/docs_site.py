"""Builds the documentation site from the pages of the repository, and fails on a broken link.

    .venv-docs/bin/python tools/docs_site.py FOLDER

The pages link to each other, and to files outside `docs/`, as a git host shows them. So the site
has the layout of the repository: this program lays the pages, and every file that they link to,
into a temporary folder at their own paths, and Zensical builds the site from there. Zensical checks
links to pages and headings, and this program links to everything else. Only the standard library is
used here.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
# Zensical would have the browser load this from another host.
_SCRIPT = ROOT / "docs" / "iframe-worker.js"
_ADDRESS = re.compile(r"[a-z]+:")


def _links(page: Path) -> Iterator[tuple[int, str]]:
    """Each relative link of a page: the number of its line, and its target without anchor."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for target in _LINK.findall(line):
            if not _ADDRESS.match(target):
                yield number, target


def files_of_the_site() -> tuple[set[Path], list[str]]:
    """The pages and every file that they link to, from the root; and what is wrong with links."""
    waiting = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "docs" / "iframe-worker.js",
    ]
    found: set[Path] = set()
    broken: list[str] = []
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix != ".md":
            continue
        for number, target in _links(path):
            linked = Path(os.path.normpath(path.parent / target))
            if linked.is_file() and linked.is_relative_to(ROOT):
                waiting.append(linked)
            else:
                broken.append(f"{path.relative_to(ROOT)}:{number}: no such file: {target}")
    return {path.relative_to(ROOT) for path in found}, sorted(broken)


def build(folder: Path) -> str | None:
    """Build the site into the folder, in place of what is there; returns what went wrong."""
    files, broken = files_of_the_site()
    if broken:
        return "\n".join(broken)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name).resolve()
        shutil.copy(ROOT / "docs" / "zensical.toml", work)
        for file in files:
            (work / "pages" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, work / "pages" / file)
        zensical = Path(sys.executable).with_name("zensical")
        done = subprocess.run(
            [zensical, "build", "--strict"],
            cwd=work,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # Its last lines are a traceback that says only that there were warnings.
            return (done.stdout + done.stderr).partition("Traceback (")[0].strip()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(work / "site", folder)
    return None


def main() -> None:
    """Build the site into the folder that the command names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if wrong := build(folder):
        sys.exit(f"{wrong}\nerror: the site was not built, and {folder} is as it was")
    print(f"{folder / 'index.html'}: open it in a browser, or put the folder on any web server")


if __name__ == "__main__":
    main()
