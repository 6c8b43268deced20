"""Another team's code location beside Signal's: a job under a name that Signal uses too, which runs
for long.

Each start leaves a line in the file `NEIGHBOUR_STARTS`: what Signal ended, Dagster would start
again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg


def work(who: str) -> None:
    """Take `NEIGHBOUR_SECONDS`."""
    with Path(os.environ["NEIGHBOUR_STARTS"]).open("a") as starts:
        starts.write(f"{who}\n")
    time.sleep(float(os.environ["NEIGHBOUR_SECONDS"]))


@dg.op
def mail() -> None:
    """Something that must not happen twice."""
    work("job")


@dg.job
def nightly_job() -> None:
    """Signal has a job of this name too."""
    mail()


@dg.sensor(
    job=nightly_job, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING
)
def once_sensor() -> dg.RunRequest:
    """Ask for one run."""
    return dg.RunRequest(run_key="once")


@dg.asset
def their_asset() -> None:
    """What a script of theirs materializes."""
    work("script")


defs = dg.Definitions(assets=[their_asset], jobs=[nightly_job], sensors=[once_sensor])

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        dg.materialize([their_asset], instance=instance)
