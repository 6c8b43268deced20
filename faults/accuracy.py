"""How often bots, devices and buckets are right, against labels that no part of Signal made.

`python -m faults accuracy` reads tab-separated labels (`--labels FILE`, gzip or not): kind (person,
old, bot), device (one of DEVICE_TYPES, or empty), source, user agent. With `--ua-parser-js FOLDER`,
a checkout of that project, it also reads that project's tests. The labels in these tests are
independent of the list of models and the lists of bots that Signal uses.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from signal_pipeline.events.user_agents import parse_user_agent

LABELS = Path(__file__).parents[2] / "shared" / "data" / "user_agents.tsv.gz"
# The words of ua-parser-js for devices, and ours.
_DEVICES = {"mobile": "mobile", "tablet": "tablet", "smarttv": "tv", "console": "console"}
_PROGRAMS = ("crawler", "cli", "fetcher", "library")


class Labelled(NamedTuple):
    """A user agent with its labels.

    `kind` is person, old (a person's older or odd user agent) or bot; `device` can be empty.
    """

    kind: str
    device: str
    source: str
    text: str


def read_labels(file: Path = LABELS) -> list[Labelled]:
    """Return the labelled user agents of a file with a line of headings."""
    open_text = gzip.open if file.suffix == ".gz" else open
    with open_text(file, "rt", encoding="utf-8", newline="") as lines:
        next(lines)
        return [Labelled(*line.rstrip("\n").split("\t", 3)) for line in lines]


def read_ua_parser_js(folder: Path) -> Iterator[Labelled]:
    """Yield the tests of ua-parser-js: devices, and programs that are not browsers."""
    data = folder / "test" / "data" / "ua"
    for file in sorted((data / "device").glob("*.json")):
        for entry in json.loads(file.read_text(encoding="utf-8")):
            device = _DEVICES.get(entry["expect"].get("type", ""))
            if device is not None and entry.get("ua"):
                yield Labelled("person", device, "ua-parser-js", entry["ua"])
    for name in _PROGRAMS:
        for entry in json.loads((data / "extension" / f"{name}.json").read_text(encoding="utf-8")):
            yield Labelled("bot", "", "ua-parser-js", entry["ua"])


def report(title: str, items: Iterable[Labelled]) -> list[str]:
    """Return rows of a Markdown table: the share of bots by kind, and of right devices by device.

    Bots are also counted by source, since a list that was made from the bots of one source finds
    all bots of that source.
    """
    bots, kinds = Counter[str](), Counter[str]()
    right, known, wrong = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for item in items:
        agent = parse_user_agent(item.text)
        for kind in (item.kind, f"{item.kind} of {item.source}"):
            kinds[kind] += 1
            bots[kind] += agent.bot
        if item.device and item.kind == "person" and not agent.bot:
            known[item.device] += 1
            right[item.device] += agent.device_type == item.device
            wrong[item.device, agent.device_type] += agent.device_type != item.device
    rows = []
    labels = {"bot": "bots found", "person": "people refused", "old": "old refused"}
    for kind in sorted(kinds):
        label, _, source = kind.partition(" of ")
        what = labels[label] + (f": {source}" if source else "")
        rows.append(f"| {what} | {title} | {_share(bots[kind], kinds[kind])} |")
    if known:
        rows.append(f"| device right | {title} | {_share(right.total(), known.total())} |")
    for device, count in known.most_common():
        most = [(taken, n) for (said, taken), n in wrong.most_common() if said == device and n][:2]
        taken_for = "".join(f"; {n:,} taken for {taken}" for taken, n in most)
        share = _share(right[device], count)
        rows.append(f"| device right: {device} | {title} | {share}{taken_for} |")
    return rows


def _share(part: int, of: int) -> str:
    return f"{100 * part / of:.2f} % of {of:,}"


def accuracy(labels: Path, ua_parser_js: Path | None) -> list[str]:
    """Return the whole table."""
    rows = ["| what | labels | measured |", "| --- | --- | ---: |"]
    rows += report(labels.name.partition(".")[0], read_labels(labels))
    if ua_parser_js is not None:
        rows += report("ua-parser-js", read_ua_parser_js(ua_parser_js))
    return rows
