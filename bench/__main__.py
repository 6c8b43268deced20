"""`python -m bench`: measure everything, print the table, write `bench/results.json`.

With `--against REV`, it measures another revision and this tree in turn.
"""

from __future__ import annotations

import argparse
import atexit
import json
import logging
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench import commands, ingest, orchestration, reports, retention, rollups, wire, workers
from bench.against.report import MEASURES
from bench.against.report import run as run_against
from bench.run import Bench
from bench.server import HISTORY_DAYS, Server, forget_settings
from bench.table import Row, machine, markdown

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
START, END = "<!-- table: python -m bench --document -->\n", "<!-- end of table -->"
PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "ingest": ingest.measure,
    "history": ingest.measure_history,  # With the backfill of that history.
    "rollups": rollups.measure,
    "reports": reports.measure,
    "retention": retention.measure,
    "orchestration": orchestration.measure,
    "wire": wire.measure,
    "workers": workers.measure,
    "commands": commands.measure,
    "demo": commands.measure_demo,
}


def main() -> int:
    """Measure; exit with 1 if a part failed, with 2 if the revision to compare with is unknown."""
    options = _options()
    if options.against is not None:
        return run_against(
            options.against,
            options.only or [],
            events=options.events,
            days=options.days,
            rounds=options.rounds,
        )
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    described = machine()
    rows: list[Row] = []
    failed: list[str] = []
    started = time.perf_counter()
    folder = Path(tempfile.mkdtemp(prefix="signal-bench-"))
    folder.chmod(0o755)  # If root runs this, the server runs as another user.
    # Registered before the server starts, so that the folder is removed after the server's end.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    forget_settings()
    bench = Bench(Server(folder / "home"), folder, options.events, options.repeats)
    for part in options.only or PARTS:
        _say(f"{part} ...")
        before = time.perf_counter()
        try:
            rows += PARTS[part](bench)
        except Exception as error:
            if options.fail_fast:
                raise
            failed.append(part)
            rows.append(Row(part, "failed", f"{type(error).__name__}: {str(error)[:200]}"))
        _say(f"  {time.perf_counter() - before:.0f} s")
    whole = {
        "machine": described,
        "events": options.events,
        "repeats": options.repeats,
        "seconds": round(time.perf_counter() - started),
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in described.items())
    text = (
        f"Scale: {options.events:,} events; medians of {options.repeats}; {whole['seconds']} s in"
        f" all. Machine: {facts}.\n\n{markdown(rows)}\n"
    )
    print(text)
    if options.document and not failed:
        head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
        DOCUMENT.write_text(
            f"{head}{START}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8"
        )
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="the scale; 20000 runs in a few minutes"
    )
    parser.add_argument("--repeats", type=int, default=3, help="repetitions behind each median")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help=f"some parts only: {', '.join(PARTS)}; with --against: {', '.join(MEASURES)}",
    )
    parser.add_argument(
        "--document", action="store_true", help="put the whole table into docs/performance.md"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="stop at the first part that fails"
    )
    parser.add_argument(
        "--against",
        metavar="REV",
        help="measure another revision of this repository and this tree in turn; writes"
        " bench/against.json",
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds of --against")
    parser.add_argument(
        "--days", type=_positive, default=HISTORY_DAYS, help="days of the backfill of --against"
    )
    options = parser.parse_args()
    if options.against is not None and (options.document or options.fail_fast):
        parser.error("--document and --fail-fast do not go with --against")
    if options.document and options.only:
        parser.error("--document does not go with --only: it replaces the whole table")
    known = PARTS if options.against is None else MEASURES
    if unknown := [part for part in options.only or [] if part not in known]:
        parser.error(f"--only: no part {unknown[0]!r}; there are {', '.join(known)}")
    return options


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
