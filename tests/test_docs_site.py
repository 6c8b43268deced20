"""The documentation site: `make docs` builds it whole, and a broken link fails.

`.venv-docs`, which `make docs` makes, has its tools.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-docs" / "bin" / "python"
CONFIG = ROOT / "docs" / "zensical.toml"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "client" / "README.md"]
STRUCTURE = {"h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "table", "tr", "th", "td", "img"}

with_the_tools = pytest.mark.skipif(
    not PYTHON.with_name("zensical").exists(),
    reason="Zensical is absent: the site was not built; `make docs` installs it",
)


def run_docs_site(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a copy of the project."""
    command = [PYTHON, root / "tools" / "docs_site.py", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = run_docs_site(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@dataclass
class Html(HTMLParser):
    """What a page holds: its elements, its links, the anchors, and the text of its code."""

    html: str
    tags: Counter[str] = field(default_factory=Counter)
    links: list[tuple[str, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    code: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._in_code = 0
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._in_code += tag == "code"
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.links.append((tag, value))
            elif name == "id" and value:
                self.anchors.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.code += data


def html_of(page: Path, site: Path) -> Path:
    """The file of the site that shows a page."""
    shown = site / page.relative_to(ROOT).with_suffix(".html")
    return shown.with_name("index.html") if page.name == "README.md" else shown


def test_every_page_is_in_the_navigation() -> None:
    sections = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]
    named = [page for section in sections for pages in section.values() for page in pages]
    assert sorted(named) == sorted(str(page.relative_to(ROOT)) for page in PAGES)


@with_the_tools
def test_every_link_of_the_site_leads_somewhere_in_it(site: Path) -> None:
    pages = {path: Html(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # A server shows it at any address, so its links begin at the site's root.
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert tag == "a", f"{path}: the browser would load {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            if parts.fragment and target in pages:
                assert parts.fragment in pages[target].anchors, (path, link)
            found += 1
    assert found > 500


@with_the_tools
def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    loaded = re.findall(r"url\(([^)]*)\)|@import\s+([^;]*)", "".join(styles))
    assert {target for pair in loaded for target in pair if "//" in target[:9]} == set()


@with_the_tools
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_site_shows_a_page_as_a_git_host_does(site: Path, page: Path) -> None:
    """The site's Markdown wants four blanks before what is nested, and takes no `\\|` in code."""
    expected = Html(MarkdownIt("gfm-like", {"linkify": False}).render(page.read_text()))
    shown = html_of(page, site).read_text(encoding="utf-8")
    found = Html(shown.partition("<article")[2].partition("</article>")[0])
    assert {tag: found.tags[tag] for tag in STRUCTURE} == {
        tag: expected.tags[tag] for tag in STRUCTURE
    }
    assert found.code.split() == expected.code.split()


@with_the_tools
@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](docs/nothing.md)", "README.md:1: no such file: docs/nothing.md"),
        ("[a](signal_pipeline/nothing.py)", "README.md:1: no such file"),
        ("![a](docs/images/nothing.png)", "README.md:1: no such file"),
        ("[a](../outside.md)", "README.md:1: no such file"),
        ("[a](docs)", "README.md:1: no such file"),
        ("[a](docs/api.md#nothing)", "anchor does not exist"),
        ("[a](#nothing)", "anchor does not exist"),
    ],
)
def test_a_broken_link_fails_and_leaves_the_site(tmp_path: Path, link: str, said: str) -> None:
    root, folder = tmp_path / "project", tmp_path / "site"
    for name in ("docs", "tools"):
        shutil.copytree(ROOT / name, root / name)
    for page in (root / "docs").glob("*.md"):
        page.write_text(f"# {page.stem}\n")
    (root / "README.md").write_text(f"{link}\n")
    folder.mkdir()
    (folder / "index.html").write_text("the site before")
    done = run_docs_site(root, folder)
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert (folder / "index.html").read_text() == "the site before"
