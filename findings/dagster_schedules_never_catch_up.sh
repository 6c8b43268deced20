#!/usr/bin/env bash
# Dagster's scheduler never catches up on missed partitions, although it has a setting for it.
#
# Version: dagster 1.13.27, Python 3.11.
#
# `max_catchup_runs` of DagsterDaemonScheduler is documented as the number of past partitions for
# which the scheduler looks for missing runs after a downtime, 5 by default; only schedules
# without a partition set are excepted, such as those of `@schedule`. But
# `build_schedule_from_partitioned_job` is built on `@schedule` today, and no schedule has a
# partition set any more. So after four nights without the daemon, a daily schedule asks for the
# newest day alone, whatever the setting says. The other three days are never built. No tick and
# no run shows that they are missing; the daemon writes one line to its log. A job of assets and a
# job of ops with a partitioned config behave alike. It is Dagster's issue 10335, which has been
# open for years.
#
# The script turns two schedules on, sets the time at which they were turned on back by four days,
# and runs the daemon.
#
# Seen on 2026-11-30:
#   max_catchup_runs 5, assets_schedule: of 4 days that ended, 1 asked for
#   max_catchup_runs 5, ops_schedule: of 4 days that ended, 1 asked for
#   assets_schedule has no partition set, so not trying to catch up
#   ops_schedule has no partition set, so not trying to catch up
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dagster==1.13.27

cat >defs.py <<'PY'
import dagster as dg

days = dg.DailyPartitionsDefinition("2026-01-01")


@dg.asset(partitions_def=days)
def numbers() -> None: ...


@dg.daily_partitioned_config(start_date="2026-01-01")
def a_day(start, end):
    return {}


@dg.op
def count() -> None: ...


@dg.job(config=a_day)
def ops():
    count()


assets = dg.define_asset_job("assets", [numbers])
defs = dg.Definitions(
    assets=[numbers],
    jobs=[assets, ops],
    schedules=[dg.build_schedule_from_partitioned_job(job) for job in (assets, ops)],
)
PY

cat >run.py <<'PY'
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import ScheduleInstigatorData

BIN = Path(sys.executable).parent
DAYS = 4
SCHEDULES = ("assets_schedule", "ops_schedule")
SETTINGS = """\
scheduler:
  module: dagster.core.scheduler
  class: DagsterDaemonScheduler
  config:
    max_catchup_runs: 5
telemetry:
  enabled: false
"""

home = Path.cwd() / "home"
home.mkdir()
(home / "dagster.yaml").write_text(SETTINGS)
os.environ["DAGSTER_HOME"] = str(home)
for schedule in SCHEDULES:
    subprocess.run(
        [BIN / "dagster", "schedule", "start", schedule, "-f", "defs.py"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

with dg.DagsterInstance.get() as instance:
    for state in instance.all_instigator_state():
        data = state.instigator_data
        turned_on = time.time() - DAYS * 86_400
        instance.update_instigator_state(
            state.with_data(ScheduleInstigatorData(data.cron_schedule, turned_on))
        )

    log = Path("daemon.log")
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [BIN / "dagster-daemon", "run", "-f", "defs.py"], stdout=output, stderr=output
        )
    try:
        patience = time.monotonic() + 120
        while time.monotonic() < patience:
            if all(f"for {schedule}" in log.read_text() for schedule in SCHEDULES):
                break
            time.sleep(1)
        time.sleep(20)  # Several more looks of the scheduler.
    finally:
        daemon.terminate()
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()

    for schedule in SCHEDULES:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/schedule_name": schedule}))
        asked = {run.tags["dagster/partition"] for run in runs}
        print(
            f"max_catchup_runs 5, {schedule}: of {DAYS} days that ended, {len(asked)} asked for"
        )

for line in sorted(set(re.findall(r"\w+ has no partition set, so .*", log.read_text()))):
    print(line)
PY

cat >expected <<'END'
max_catchup_runs 5, assets_schedule: of 4 days that ended, 1 asked for
max_catchup_runs 5, ops_schedule: of 4 days that ended, 1 asked for
assets_schedule has no partition set, so not trying to catch up
ops_schedule has no partition set, so not trying to catch up
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
