"""What Dagster itself costs.

Two things are measured: loading definitions, and the time from a commit to fresh rollups under
`signal-pipeline dev`.
"""

from __future__ import annotations

import statistics
import sys

from bench import freshness
from bench.run import Bench, run_child
from bench.server import environment
from bench.table import Row, limit


def measure(bench: Bench) -> list[Row]:
    """Measure the definitions, then freshness."""
    with bench.server.database() as settings:
        given = environment(settings)
        ours, bare = (
            statistics.median(
                run_child([sys.executable, "-c", program], given, bench.folder).cpu
                for _ in range(bench.repeats)
            )
            for program in (
                "from signal_pipeline.definitions import defs; defs()",
                "import dagster",
            )
        )
    fresh = freshness.samples(max(2, bench.repeats))
    return [
        limit(
            "load the definitions in a new process",
            ours,
            "s CPU",
            note=f"`import dagster` alone: {bare:.2f} s CPU",
        ),
        limit(
            "from the commit of an event until it is in every rollup, under `signal-pipeline dev`,"
            " median",
            float(str(fresh["median"])),
            "s",
            30,
            f"each: {fresh['seconds']} s",
        ),
    ]
