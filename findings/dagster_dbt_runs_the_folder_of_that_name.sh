#!/usr/bin/env bash
# dagster-dbt: a model beside a folder of its own name cannot be materialized alone.
#
# Versions: dagster-dbt 0.29.27, dagster 1.13.27, dbt-core 1.11.16, dbt-duckdb 1.11.1, Python 3.11.
#
# A dbt project has `models/orders.sql`, and beside it a folder `models/orders/` with `refunds.sql`.
# Neither reads the other. Dagster is asked for the asset `orders` alone. dagster-dbt names it to dbt as
# `--select shop.orders`, and to dbt that is the model and everything in the folder. So dbt builds
# `refunds` too, which nobody asked for, and Dagster then fails the step, because an asset came that was
# not selected. Both models are built, and the run is a failure each time. `refunds` alone works, and
# so do both together.
#
# Seen on 2026-11-28:
#   orders: succeeded False, selected shop.orders, built ['orders', 'refunds']
#   refunds: succeeded True, selected shop.orders.refunds, built ['refunds']
#   orders refunds: succeeded True, selected fqn:*, built ['orders', 'refunds']
#   failure: returned an output "refunds" that is not selected. The selected outputs are {'orders'}
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dagster-dbt==0.29.27 dagster==1.13.27 dbt-core==1.11.16 dbt-duckdb==1.11.1
export PATH="$folder/venv/bin:$PATH" DBT_SEND_ANONYMOUS_USAGE_STATS=false

mkdir -p shop/models/orders
echo "select 1 as id" >shop/models/orders.sql
echo "select 2 as id" >shop/models/orders/refunds.sql
cat >shop/dbt_project.yml <<'YAML'
name: shop
profile: shop
YAML
cat >shop/profiles.yml <<'YAML'
shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: shop.duckdb}
YAML
(cd shop && dbt parse --profiles-dir . >/dev/null)

cat >run.py <<'PY'
import json
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

project = Path("shop").absolute()
invocations = []


@dbt_assets(manifest=project / "target" / "manifest.json")
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    invocation = dbt.cli(["build"], context=context)
    invocations.append(invocation)
    yield from invocation.stream()


seen = Path("seen").open("w")
failures = set()
for selection in (["orders"], ["refunds"], ["orders", "refunds"]):
    run = dg.materialize(
        [models],
        selection=selection,
        resources={"dbt": DbtCliResource(project_dir=str(project))},
        raise_on_error=False,
    )
    failures |= {e.step_failure_data.error.message for e in run.all_events if e.is_step_failure}
    invocation = invocations[-1]
    invocation.wait()
    command = invocation.process.args
    selected = command[command.index("--select") + 1]
    results = json.loads((invocation.target_path / "run_results.json").read_text())["results"]
    built = sorted(r["unique_id"].split(".")[-1] for r in results if r["status"] == "success")
    print(f"{' '.join(selection)}: succeeded {run.success}, selected {selected}, built {built}", file=seen)
for failure in failures:
    print("failure:", failure[failure.index("returned") :].strip(), file=seen)
PY

# dbt's own output comes between the lines of stdout: what was seen goes into a file of its own.
venv/bin/python -W ignore run.py >log 2>&1 || { echo "CHANGED: it does not run"; tail -5 log; exit 1; }
cat seen

diff - seen <<'TXT' || { echo "CHANGED: not what it was"; tail -5 log; exit 1; }
orders: succeeded False, selected shop.orders, built ['orders', 'refunds']
refunds: succeeded True, selected shop.orders.refunds, built ['refunds']
orders refunds: succeeded True, selected fqn:*, built ['orders', 'refunds']
failure: returned an output "refunds" that is not selected. The selected outputs are {'orders'}
TXT
echo "unchanged"
