#!/usr/bin/env bash
# DuckDB 2.0 gives events of a CSV file another day, unless the query has a `where` or a `limit`.
#
# Versions: duckdb 2.0.1 (and 1.5.6 beside it, which gives the right days), Python 3.11.
#
# DuckDB finds that the times in the file are TIMESTAMP WITH TIME ZONE, and `describe` says so. So
# `ts::date` is the day in the time zone of the session. But the optimizer moves the cast into the
# reader of the file, which then casts the text: the offset is dropped, and 01:30 at +02:00 is on
# another day. With a `where` that leaves nothing out, with a `limit`, from a Parquet file of the
# same rows, or without the optimizer, it is the right day. A table made of the select has the
# wrong one for good. `::timestamp` behaves alike. Numbers change too: the text 2.5 becomes 3, and
# the DOUBLE 2.5 becomes 2.
#
# Casts are moved into the readers since pull request 22788, for speed. An optimizer must not change
# a result, and the documentation does not say that this one does.
#
# Three events at the turn of a day in UTC, the session's zone. Seen on 2026-11-30:
#   2.0.1, type of ts: TIMESTAMP WITH TIME ZONE
#   2.0.1, ts::date: 2026-11-30 2026-11-29 2026-11-29
#   2.0.1, ts::date where id > 0: 2026-11-29 2026-11-29 2026-11-30
#   2.0.1, ts::date limit 100: 2026-11-29 2026-11-29 2026-11-30
#   2.0.1, ts::date from Parquet: 2026-11-29 2026-11-29 2026-11-30
#   2.0.1, ts::date without the optimizer: 2026-11-29 2026-11-29 2026-11-30
#   2.0.1, seconds::int: 3 1 2
#   2.0.1, seconds::int where id > 0: 2 0 2
#   1.5.6, type of ts: TIMESTAMP WITH TIME ZONE
#   1.5.6, ts::date: 2026-11-29 2026-11-29 2026-11-30
#   1.5.6, ts::date where id > 0: 2026-11-29 2026-11-29 2026-11-30
#   1.5.6, ts::date limit 100: 2026-11-29 2026-11-29 2026-11-30
#   1.5.6, ts::date from Parquet: 2026-11-29 2026-11-29 2026-11-30
#   1.5.6, ts::date without the optimizer: 2026-11-29 2026-11-29 2026-11-30
#   1.5.6, seconds::int: 2 0 2
#   1.5.6, seconds::int where id > 0: 2 0 2
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

for version in 2.0.1 1.5.6; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check "duckdb==$version"
done

cat >events.csv <<'END'
id,ts,seconds
1,2026-11-30T01:30:00+02:00,2.5
2,2026-11-29T23:30:00Z,0.5
3,2026-11-29T22:30:00-05:00,1.5
END

cat >run.py <<'PY'
import duckdb

FILE = "from 'events.csv'"
connection = duckdb.connect()
connection.execute("set timezone = 'UTC'")


def say(name: str, query: str) -> None:
    """Print the values of the query's only column."""
    values = [str(value) for (value,) in connection.execute(query).fetchall()]
    print(f"{duckdb.__version__}, {name}: {' '.join(values)}")


connection.execute(f"copy (select * {FILE}) to 'events.parquet'")
say("type of ts", f"select typeof(ts) {FILE} where id = 1")
say("ts::date", f"select ts::date {FILE}")
say("ts::date where id > 0", f"select ts::date {FILE} where id > 0")
say("ts::date limit 100", f"select ts::date {FILE} limit 100")
say("ts::date from Parquet", "select ts::date from 'events.parquet'")
connection.execute("pragma disable_optimizer")
say("ts::date without the optimizer", f"select ts::date {FILE}")
connection.execute("pragma enable_optimizer")
say("seconds::int", f"select seconds::int {FILE}")
say("seconds::int where id > 0", f"select seconds::int {FILE} where id > 0")
PY

cat >expected <<'END'
2.0.1, type of ts: TIMESTAMP WITH TIME ZONE
2.0.1, ts::date: 2026-11-30 2026-11-29 2026-11-29
2.0.1, ts::date where id > 0: 2026-11-29 2026-11-29 2026-11-30
2.0.1, ts::date limit 100: 2026-11-29 2026-11-29 2026-11-30
2.0.1, ts::date from Parquet: 2026-11-29 2026-11-29 2026-11-30
2.0.1, ts::date without the optimizer: 2026-11-29 2026-11-29 2026-11-30
2.0.1, seconds::int: 3 1 2
2.0.1, seconds::int where id > 0: 2 0 2
1.5.6, type of ts: TIMESTAMP WITH TIME ZONE
1.5.6, ts::date: 2026-11-29 2026-11-29 2026-11-30
1.5.6, ts::date where id > 0: 2026-11-29 2026-11-29 2026-11-30
1.5.6, ts::date limit 100: 2026-11-29 2026-11-29 2026-11-30
1.5.6, ts::date from Parquet: 2026-11-29 2026-11-29 2026-11-30
1.5.6, ts::date without the optimizer: 2026-11-29 2026-11-29 2026-11-30
1.5.6, seconds::int: 2 0 2
1.5.6, seconds::int where id > 0: 2 0 2
END

for version in 2.0.1 1.5.6; do
    "$version/bin/python" run.py
done | tee seen
diff expected seen
