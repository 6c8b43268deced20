"""How long a process takes to start: commands that do little, and the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.against.builds import Build
from bench.against.comparison import Reading
from bench.against.turns import Scale, Turn
from bench.traffic import YESTERDAY, lines_of

FEW_LINES = 2_000
# In some revisions `defs` is the definitions, in others a function that makes them.
DEFINITIONS = "from signal_pipeline.definitions import defs\nif callable(defs):\n    defs()"


@contextmanager
def start(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure whole processes on a database that holds one small day."""
    with scale.home(build) as home:
        home.ingest(lines_of(scale.folder, FEW_LINES, seed=3))
        home.backfill(YESTERDAY, YESTERDAY)
        report = ("report", "app", "--from", str(YESTERDAY), "--to", str(YESTERDAY))

        def turn(_: int) -> list[Reading]:
            return [
                Reading("start: `signal-pipeline --help`", home.run("--help").each(1)),
                Reading(
                    "start: `signal-pipeline report`, the whole process",
                    home.run(*report).each(1, cpu_target=0.35),
                ),
                Reading(
                    "start: the definitions in a new process",
                    home.run_python(DEFINITIONS).each(1, cpu_target=0.7),
                ),
                Reading(
                    "beside it: `import dagster` alone", home.run_python("import dagster").each(1)
                ),
            ]

        turn(0)  # The first start reads files that the system has not cached yet.
        yield turn
