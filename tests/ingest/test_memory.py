"""The peak memory of a process that ingests a long file, and of one that builds a large day.

It is bounded, whatever their size.
"""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path

import pytest
from conftest import Fill

from bench.run import run_child
from bench.traffic import YESTERDAY, lines_of, multiply
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

LIMIT_MIB = 1_536
INGEST = (
    "import sys; from signal_pipeline.cli.commands import main; sys.argv[1:] = ['ingest',"
    " {file!r}]; main()"
)
BUILD = """
from datetime import date
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings
from signal_pipeline.postgres.database import open_database
database = open_database(load_settings())
build_day(database, open_engine(load_settings(), database), load_models(), date.fromisoformat({day!r}))
"""


def _peak_mib(code: str) -> float:
    """The peak memory of a Python process that runs the code in the test's environment."""
    return run_child([sys.executable, "-c", code], os.environ, Path.cwd()).peak_mib


@pytest.mark.embedded_only
@pytest.mark.usefixtures("environment")
def test_a_file_four_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    short, long = (
        lines_of(tmp_path, lines, seed=seed) for seed, lines in ((1, 50_000), (2, 200_000))
    )
    assert long.stat().st_size > 3 * short.stat().st_size > 50 * 2**20
    peaks = [_peak_mib(INGEST.format(file=str(path))) for path in (short, long)]
    assert peaks[1] < LIMIT_MIB / 2
    assert (
        peaks[1] < peaks[0] + 100
    )  # The long file has some 80 MiB, its checked events several times that.


@pytest.mark.embedded_only
def test_a_large_day_is_built_within_the_limit(
    connection: Connection, environment: Settings, fill: Fill
) -> None:
    fill(YESTERDAY, 1_000)
    day = date.fromordinal(YESTERDAY.toordinal() - 1)
    # Without indexes it is filled in seconds; a build reads all of the day anyway.
    connection.execute(
        "drop index signal.events_app_type_time, signal.events_entity_time, signal.events_user_time"
    )
    multiply(connection, YESTERDAY, day, 1_000_000, 1_000)
    assert _peak_mib(BUILD.format(day=str(day))) < LIMIT_MIB
    stored = connection.execute(
        "select sum(events) from signal.daily_app_activity where activity_date = %s and event_type"
        " = '(all)'",
        [day],
    ).fetchone()
    assert stored == (1_000_000,)
