#!/usr/bin/env bash
# A sensor with `minimum_interval_seconds=5` misses many of the daemon's looks, which come every 5 s.
#
# Versions: dagster 1.13.27, Python 3.11, SQLite storage.
#
# Dagster's daemon looks at all sensors every five seconds, one after the other, in an order that it
# shuffles each time. It measures the interval from tick to tick. A sensor that comes late in one
# look and early in the next has waited less than five seconds, so it is passed over and ticks ten
# seconds after its last tick. With an interval of two seconds, the same sensors tick at each look.
#
# Eight sensors that take 0.1 s each; "a pause" is a gap of more than 7.5 s between two ticks of one
# sensor. Seen on 2026-11-29:
#   interval 5 s: pauses
#   interval 2 s: no pause
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dagster==1.13.27

cat >definitions.py <<'PY'
import os
import time

import dagster as dg


def sensor(number: int) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"sensor_{number}",
        minimum_interval_seconds=int(os.environ["INTERVAL"]),
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        time.sleep(0.1)
        return dg.SkipReason("nothing to do")

    return look


defs = dg.Definitions(sensors=[sensor(number) for number in range(8)])
PY

cat >ticks.py <<'PY'
from itertools import pairwise

import dagster as dg

with dg.DagsterInstance.get() as instance:
    gaps = []
    for state in instance.all_instigator_state():
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        times = sorted(tick.timestamp for tick in ticks)
        gaps += [after - before for before, after in pairwise(times)]
print("no pause" if max(gaps) <= 7.5 else "pauses")
PY

export DAGSTER_DISABLE_TELEMETRY=1
for INTERVAL in 5 2; do
    export INTERVAL DAGSTER_HOME="$folder/home-$INTERVAL"
    mkdir "$DAGSTER_HOME"
    printf 'telemetry:\n  enabled: false\n' >"$DAGSTER_HOME/dagster.yaml"
    timeout --signal=INT 90 venv/bin/dagster-daemon run -f definitions.py >daemon.log 2>&1 || true
    echo "interval $INTERVAL s: $(venv/bin/python ticks.py)"
done | tee seen

diff seen - <<'END'
interval 5 s: pauses
interval 2 s: no pause
END
