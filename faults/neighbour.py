"""Another team's code location beside Signal's: a long job under a name that Signal also uses.

Each start adds a line to the file that `NEIGHBOUR_STARTS` names. If Signal ended the run, Dagster
would start the run again, so a second start shows that Signal did so.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg


def work(who: str) -> None:
    """Note the start, and take `NEIGHBOUR_SECONDS`."""
    with Path(os.environ["NEIGHBOUR_STARTS"]).open("a") as starts:
        starts.write(f"{who}\n")
    time.sleep(float(os.environ["NEIGHBOUR_SECONDS"]))


@dg.op
def mail() -> None:
    """Do something that must not happen twice."""
    work("job")


@dg.job
def nightly_job() -> None:
    """A job whose name Signal uses too."""
    mail()


@dg.sensor(
    job=nightly_job, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING
)
def once_sensor() -> dg.RunRequest:
    """Ask for one run."""
    return dg.RunRequest(run_key="once")


@dg.asset
def their_asset() -> None:
    """An asset that a script of theirs materializes."""
    work("script")


defs = dg.Definitions(assets=[their_asset], jobs=[nightly_job], sensors=[once_sensor])

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        dg.materialize([their_asset], instance=instance)
