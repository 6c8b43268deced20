#!/usr/bin/env bash
# dagster-postgres builds URLs that SQLAlchemy 2.1 opens with a driver it does not install.
#
# Versions: dagster 1.13.27, dagster-postgres 0.29.27, SQLAlchemy 2.1.9 and 2.0.46, Python 3.11.
#
# dagster-postgres depends on psycopg2-binary, and makes `postgresql://...` of the settings
# `postgres_db` in dagster.yaml. SQLAlchemy 2.1 opens such a URL with psycopg (version 3); 2.0 opened
# it with psycopg2. dagster allows 2.1, so a new environment gets it, and the instance cannot be
# loaded. `postgresql+psycopg2://...` as `postgres_url`, or SQLAlchemy 2.0, works.
#
# No server is needed: the error comes before any connection is made.
#
# Seen on 2026-11-29:
#   SQLAlchemy 2.1.9, postgres_db: No module named 'psycopg'
#   SQLAlchemy 2.1.9, postgres_url with +psycopg2: looks for the server
#   SQLAlchemy 2.0.46, postgres_db: looks for the server
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    dagster==1.13.27 dagster-postgres==0.29.27 sqlalchemy==2.1.9

mkdir home
cat >run.py <<'PY'
import os
import sys
from pathlib import Path

import dagster as dg
import sqlalchemy

PARTS = "postgres_db: {username: u, password: p, hostname: 127.0.0.1, db_name: d, port: 1}"
URL = "postgres_url: postgresql+psycopg2://u:p@127.0.0.1:1/d"

kind, setting = sys.argv[1], PARTS if sys.argv[1] == "postgres_db" else URL
home = Path("home").absolute()
(home / "dagster.yaml").write_text(
    f"storage:\n  postgres:\n    {setting}\n    should_autocreate_tables: false\n"
    "telemetry:\n  enabled: false\n"
)
os.environ["DAGSTER_HOME"] = str(home)
try:
    dg.DagsterInstance.get().get_runs(limit=1)
    seen = "reads"
except ModuleNotFoundError as error:
    seen = str(error)
except Exception as error:
    lines = f"{error} {error.__cause__}"
    seen = "looks for the server" if "onnection" in lines else lines
print(f"SQLAlchemy {sqlalchemy.__version__}, {kind}: {seen}")
PY

cat >expected <<'END'
SQLAlchemy 2.1.9, postgres_db: No module named 'psycopg'
SQLAlchemy 2.1.9, postgres_url with +psycopg2: looks for the server
SQLAlchemy 2.0.46, postgres_db: looks for the server
END

venv/bin/python run.py postgres_db 2>stderr | tee seen
venv/bin/python run.py "postgres_url with +psycopg2" 2>>stderr | tee -a seen
venv/bin/pip install --quiet --disable-pip-version-check sqlalchemy==2.0.46
venv/bin/python run.py postgres_db 2>>stderr | tee -a seen
diff expected seen
