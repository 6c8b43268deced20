"""The documents are true.

The commands, options, targets, files and examples that they name exist and work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import typer

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.cli.commands import app
from signal_pipeline.dagster.notifications import open_addresses
from signal_pipeline.events.event import IncomingEvent
from signal_pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "client" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXTS = {
    path.relative_to(ROOT).as_posix().removeprefix("docs/"): path.read_text(encoding="utf-8")
    for path in DOCUMENTS
}


def options() -> Mapping[str, set[str]]:
    """The commands and the options of each."""
    command = typer.main.get_command(app)
    return {
        name: {
            option
            for parameter in each.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        for name, each in command.commands.items()  # type: ignore[attr-defined]
    }


def test_the_readme_lists_every_command_and_no_other() -> None:
    cells = re.findall(r"(?m)^\| (`[a-z].*?`) \|", README.split("## Commands")[1].split("\n## ")[0])
    named = {name for cell in cells for name in re.findall(r"`([a-z-]+)", cell)}
    assert named == set(options())


def test_every_option_in_a_document_exists() -> None:
    known = options()
    found = 0
    for text in TEXTS.values():
        for name, rest in re.findall(
            r"(?:signal-pipeline |^\| `)([a-z-]+)\b([^`\n]*)", text, flags=re.MULTILINE
        ):
            if name in known:
                for option in re.findall(r"(?<!\w)--[a-z-]+", rest.replace("--help", "")):
                    assert option in known[name], (name, option)
                    found += 1
    assert found > 5


def test_every_make_target_in_a_document_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    named = {
        name for text in TEXTS.values() for name in re.findall(r"`?\bmake ([a-z-]+)(?=`|  )", text)
    }
    assert {"demo", "dev", "test"} <= named <= targets


def test_the_landing_line_of_the_readme_holds_every_field() -> None:
    example = json.loads(re.search(r"```json\n(.*?)```", README, flags=re.DOTALL)[1])  # type: ignore[index]
    assert example["eventType"] in load_catalogue().event_types
    assert example["appName"] in load_catalogue().apps
    assert set(example) <= set(IncomingEvent.__struct_encode_fields__)


def test_the_addresses_for_alerts_are_understood() -> None:
    alerts = TEXTS["operations.md"].split("\n## Alerts")[1].split("\n## ")[0]
    urls = re.findall(r"`([a-z]+://[^`]*)`", alerts)
    assert len(urls) == 4
    settings = Settings(_env_file=None, alert_urls=", ".join(urls))  # type: ignore[arg-type, call-arg]
    assert len(open_addresses(settings)) == len(urls)


def anchors(text: str) -> set[str]:
    """The anchors that a link can name after `#`: headings as GitHub names them."""
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    found = 0
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = document.parent / name if name else document
            assert path.exists(), (document, target)
            if anchor:
                assert anchor in anchors(path.read_text(encoding="utf-8")), (document, target)
            found += 1
    assert found > 30


def test_the_index_of_the_decisions_counts_them() -> None:
    _, *chapters = re.split(r"^## (.+)$", TEXTS["decisions.md"], flags=re.M)
    counts = {
        name: len(re.findall(r"^\*\*", text, flags=re.M))
        for name, text in zip(chapters[::2], chapters[1::2], strict=True)
    }
    index = re.findall(r"^\| \[(.+)\]\(#.+\) \| (\d+) \|", TEXTS["decisions.md"], flags=re.M)
    assert {name: int(count) for name, count in index} == counts


def test_every_requirement_and_invariant_that_is_cited_exists() -> None:
    """`requirement 3.4` is section 3, rule 4 of docs/requirements.md.

    `invariant 6` is one of docs/architecture.md.
    """
    rules = {"requirement": set[str](), "invariant": set[str]()}
    section = ""
    for line in TEXTS["requirements.md"].splitlines():
        if heading := re.match(r"## (\d+)\.", line):
            section = heading[1]
            rules["requirement"].add(section)
        elif rule := re.match(r"(\d+)\. ", line):
            rules["requirement"].add(f"{section}.{rule[1]}")
    invariants = TEXTS["architecture.md"].split("\n## Invariants")[1].split("\n## ")[0]
    rules["invariant"].update(re.findall(r"(?m)^(\d+)\. ", invariants))
    cited = 0
    for path in [
        path
        for folder in ("signal_pipeline", "tests", "faults", "client/src")
        for path in (ROOT / folder).rglob("*.*")
    ]:
        if path.suffix in {".py", ".ts", ".tsx", ".sql"}:
            text = re.sub(r"\s+[#*-]*\s*", " ", path.read_text(encoding="utf-8"))
            for word, first, last in re.findall(
                r"(?i)\b(requirement|invariant)s? (\d+(?:\.\d+)?)(?: (?:to|and) (\d+(?:\.\d+)?))?",
                text,
            ):
                assert {first, last or first} <= rules[word.lower()], (path, word, first, last)
                cited += 1
    assert cited > 50


def test_no_document_names_a_machine() -> None:
    for text in TEXTS.values():
        assert not re.search(r"/(root|tmp|work)/", text)
