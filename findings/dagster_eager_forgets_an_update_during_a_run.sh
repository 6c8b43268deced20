#!/usr/bin/env bash
# Dagster's `AutomationCondition.eager()` forgets an update that comes while the follower's run works.
#
# Version: dagster 1.13.27, Python 3.11.
#
# An asset follows another with `eager()`. While a run of the follower is in flight, which has read its
# input already, the upstream asset is materialized once more. When the run ends, its own
# materialization counts as the answer to that update too: the condition resets at "newly updated". So
# no further run is asked for, and the follower keeps the older numbers until the next update. The same
# update after the run has ended is followed.
#
# Seen on 2026-11-28 (runs asked for by each look):
#   updated during the run: before 1, during 0, after 0, later 0
#   updated after the run: before 1, during 0, after 1, later 0
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dagster==1.13.27

cat >run.py <<'PY'
import dagster as dg

meanwhile = lambda: None


@dg.asset
def upstream() -> None: ...


@dg.asset(deps=[upstream], automation_condition=dg.AutomationCondition.eager())
def follower() -> None:
    meanwhile()  # It has read its input by now.


defs = dg.Definitions([upstream, follower])


def looks(update_during_the_run: bool) -> str:
    global meanwhile
    cursor = None
    with dg.DagsterInstance.ephemeral() as instance:

        def update() -> None:
            dg.materialize([upstream], instance=instance)

        def look() -> int:
            nonlocal cursor
            result = dg.evaluate_automation_conditions(defs, instance=instance, cursor=cursor)
            cursor = result.cursor
            return result.total_requested

        asked = {}

        def during() -> None:
            if update_during_the_run:
                update()
            asked["during"] = look()

        update()
        look()
        update()
        asked["before"] = look()
        meanwhile = during
        dg.materialize([follower, upstream], selection=[follower], instance=instance)
        if not update_during_the_run:
            look()
            update()
        asked["after"], asked["later"] = look(), look()
        return ", ".join(f"{name} {asked[name]}" for name in ("before", "during", "after", "later"))


print("updated during the run:", looks(True))
print("updated after the run:", looks(False))
PY

venv/bin/python -W ignore run.py 2>/dev/null | tee seen

diff - seen <<'TXT' || { echo "CHANGED: not what it was"; exit 1; }
updated during the run: before 1, during 0, after 0, later 0
updated after the run: before 1, during 0, after 1, later 0
TXT
echo "unchanged"
