"""How right the user-agent buckets are, measured against corpora that public packages ship; nothing of them is kept here.

`python -m faults.accuracy FOLDER` prints a table in Markdown. The folder holds what docs/user-agents.md says to download:
`user-agents.json` (npm user-agents: real browsers) and `upstream/*.yml` (the tests of PyPI's device_detector).
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from signal_pipeline.events.user_agents import clear_cache, parse_user_agent

# What the corpora call a device, and our word for it.
DEVICES = {
    "desktop": "desktop",
    "smartphone": "mobile",
    "phablet": "mobile",
    "feature phone": "mobile",
    "mobile": "mobile",
    "tablet": "tablet",
    "tv": "tv",
    "console": "console",
}
BROWSERS = {
    "Chrome": "Chrome",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Safari": "Safari",
    "Mobile Safari": "Safari",
    "Firefox": "Firefox",
    "Firefox Mobile": "Firefox",
    "Firefox Mobile iOS": "Firefox",
    "Microsoft Edge": "Edge",
    "Samsung Browser": "Samsung Internet",
    "Opera": "Opera",
    "Opera Mobile": "Opera",
}
SYSTEMS = {
    "Mac": "macOS",
    "iOS": "iOS",
    "iPadOS": "iOS",
    "Windows": "Windows",
    "Android": "Android",
    "Chrome OS": "ChromeOS",
}


class Labelled(NamedTuple):
    """A user agent and what its corpus says of it, in our words; empty where it says nothing we have a word for."""

    text: str
    device: str = ""
    browser: str = ""
    system: str = ""
    client: str = ""


def real_browsers(file: Path) -> list[Labelled]:
    """Browsers seen in the wild, by npm's user-agents, with the kind of device."""
    return [Labelled(entry["userAgent"], DEVICES[entry["deviceCategory"]]) for entry in json.loads(file.read_text())]


def labelled(file: Path) -> list[Labelled]:
    """One file of device_detector's tests. Its labels come from people; it is made of rare devices."""
    entries: list[dict[str, Any]] = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    found = []
    for entry in entries:
        client, system = entry.get("client") or {}, entry.get("os") or {}
        browser = BROWSERS.get(client.get("name", ""), "") if client.get("type") == "browser" else ""
        device = DEVICES.get((entry.get("device") or {}).get("type", ""), "")
        found.append(
            Labelled(
                entry["user_agent"], device, browser, SYSTEMS.get(system.get("name", ""), ""), client.get("type", "")
            )
        )
    return found


def share(right: int, of: int) -> str:
    """A share as a percentage of how many."""
    return f"{100 * right / of:.2f} % of {of:,}" if of else "none"


def report(folder: Path) -> list[str]:
    """The table's rows."""
    bots = labelled(folder / "upstream" / "bots.yml")
    browsers = real_browsers(folder / "user-agents.json")
    rows = ["| what | corpus | measured |", "| --- | --- | ---: |"]
    caught = sum(parse_user_agent(item.text).bot for item in bots)
    rows.append(f"| bots found | device_detector bots | {share(caught, len(bots))} |")
    kept = [item for item in browsers if not parse_user_agent(item.text).bot]
    rows.append(f"| browsers refused as bots | user-agents | {share(len(browsers) - len(kept), len(browsers))} |")
    rows += _right("user-agents", browsers)
    everything = []
    for name in ("desktop", "smartphone", "phablet", "tablet", "tv", "console", "feature_phone"):
        items = [item for file in sorted((folder / "upstream").glob(f"{name}*.yml")) for item in _of(file, name)]
        refused = [item for item in items if parse_user_agent(item.text).bot]
        clients = Counter(item.client or "unnamed" for item in refused).most_common(2)
        of = "; " + ", ".join(f"{client}: {count:,}" for client, count in clients)
        rows.append(f"| refused as bots | device_detector {name} | {share(len(refused), len(items))}{of} |")
        rows += _right(f"device_detector {name}", items)
        everything += items
    rows.append(_right("device_detector, all of the above", everything)[0])
    rows.append(_right("device_detector, the half kept aside", filter(kept_aside, everything))[0])
    return rows


def kept_aside(item: Labelled) -> bool:
    """Whether a user agent belongs to the half of device_detector's that no rule for devices was derived from."""
    return hashlib.sha256(item.text.encode()).digest()[0] % 2 == 1


def _of(file: Path, name: str) -> list[Labelled]:
    return labelled(file) if re.fullmatch(rf"{name}(-\d+)?", file.stem) else []


def _right(corpus: str, items: Iterable[Labelled]) -> list[str]:
    right, known, wrong = Counter[str](), Counter[str](), Counter[tuple[str, str, str]]()
    for item in items:
        agent = parse_user_agent(item.text)
        if agent.bot:
            continue
        for what, stated, ours in (
            ("device type", item.device, agent.device_type),
            ("browser", item.browser, agent.browser_family),
            ("system", item.system, agent.os_family),
        ):
            if stated:
                known[what] += 1
                right[what] += stated == ours
                wrong[what, stated, ours] += stated != ours
    rows = []
    for what, count in known.items():
        worst = [f"{s} taken for {o}: {n:,}" for (w, s, o), n in wrong.most_common() if w == what and n][:2]
        rows.append(
            f"| {what} right | {corpus} | {share(right[what], count)}{'; ' if worst else ''}{', '.join(worst)} |"
        )
    return rows


if __name__ == "__main__":
    clear_cache()
    print("\n".join(report(Path(sys.argv[1]))))
