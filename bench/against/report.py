"""`python -m bench --against REV`: ask both builds, print the table, write `against.json`."""

from __future__ import annotations

import atexit
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.against.builds import BuildError, build_revision, this_tree
from bench.against.comparison import Row, markdown
from bench.against.data import history, ingest, memory, retention, rollups
from bench.against.events import events
from bench.against.freshness import freshness
from bench.against.gateway import Gateway
from bench.against.reports import reports
from bench.against.start import start
from bench.against.turns import Measure, Scale, ask_in_turn, say
from bench.table import machine

RESULTS = Path(__file__).parents[1] / "against.json"
MEASURES: dict[str, Measure] = {
    "start": start,
    "events": events,
    "ingest": ingest,
    "rollups": rollups,
    "history": history,
    "retention": retention,
    "reports": reports,
    "memory": memory,
    "freshness": freshness,
}
# Freshness takes some ten minutes of waiting.
USUAL = [name for name in MEASURES if name != "freshness"]


def run(revision: str, only: Sequence[str], *, events: int, days: int, rounds: int) -> int:
    """Measure; return 2 for a revision that cannot be built, 1 if a build failed in a measure."""
    described = machine()
    # SIGTERM becomes an ordinary exit, so that servers are stopped and files removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        other, this = build_revision(revision), this_tree()
    except BuildError as error:
        say(f"error: {error}")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="signal-against-"))
    folder.chmod(0o755)  # If root runs this, the servers run as another user.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    scale = Scale(folder, Gateway(folder / "gateway"), events, days, rounds)
    whole = {
        "machine": described,
        "revision": other.name,
        "this_tree": this.name,
        "events": events,
        "days": days,
        "rounds": rounds,
    }
    started = time.perf_counter()
    rows: list[Row] = []
    for name in only or USUAL:
        say(f"{name} ...")
        rows += ask_in_turn(name, MEASURES[name], scale, other, this)
        # Written after each measure, so that an interrupted run keeps the measures before.
        seconds = round(time.perf_counter() - started)
        _write({**whole, "seconds": seconds, "rows": [row.as_dict() for row in rows]})
    facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in described.items())
    print(
        f"This tree ({this.name}) in turn with {other.name}: medians of {rounds} rounds; scale:"
        f" {events:,} events, {days} days; {seconds} s in all. Machine: {facts}.\n\n"
        f"{markdown(rows, other.name)}"
    )
    return 1 if any(row.failures for row in rows) else 0


def _write(results: Mapping[str, object]) -> None:
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
