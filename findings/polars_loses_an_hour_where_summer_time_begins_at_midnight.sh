#!/usr/bin/env bash
# Polars' `group_by_dynamic(every="1d")` loses events where summer time begins at midnight.
#
# Versions: polars 2.1.0, Python 3.11.
#
# In Egypt, Lebanon and Chile the clocks go from 00:00 to 01:00, so that one day a year begins at
# 01:00. Polars gives that day a window from 23:00 of the day before to 23:00. The next window
# begins at 00:00, so that the events of the last hour are in no window: they are lost, with no
# error. The window has the last hour of the day before and its date: a report by date has two rows
# of one day, and none of the next. The lazy and the streaming engine do the same, and so does
# every="2d" if a window begins there.
#
# The documentation calls "1d" a calendar day, up to "the corresponding time on the next day (which
# may not be 24 hours, due to daylight savings)". Grouping by `dt.date()` or `dt.truncate("1d")` is
# right. Polars' issue 25410, where a window at a change of the clocks ended in a panic, is closed.
#
# One event each ten minutes of four days. Seen on 2026-11-30:
#   Africa/Cairo, by date: 04-22 144, 04-23 144, 04-24 138, 04-25 144; in all 570
#   Africa/Cairo, dynamic: 04-22 144, 04-23 138, 04-23 138, 04-25 144; in all 564
#   Asia/Beirut, by date: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
#   Asia/Beirut, dynamic: 03-27 144, 03-28 138, 03-28 138, 03-30 144; in all 564
#   America/Santiago, by date: 09-04 144, 09-05 144, 09-06 138, 09-07 144; in all 570
#   America/Santiago, dynamic: 09-04 144, 09-05 138, 09-05 138, 09-07 144; in all 564
#   Europe/Berlin, by date: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
#   Europe/Berlin, dynamic: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
#
# Exits 0 if it still is so, 1 if it is not. Needs Python 3.11 and its package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0

cat >run.py <<'PY'
from datetime import date, timedelta

import polars

DATE = polars.col("at").dt.date()
FIRST_DAYS = {
    "Africa/Cairo": date(2026, 4, 22),
    "Asia/Beirut": date(2026, 3, 27),
    "America/Santiago": date(2026, 9, 4),
    "Europe/Berlin": date(2026, 3, 27),
}


def say(name: str, counts: polars.DataFrame) -> None:
    """Print the days, and the number of events of each."""
    days = [f"{day:%m-%d} {events}" for day, events in counts.select(DATE, "len").iter_rows()]
    print(f"{name}: {', '.join(days)}; in all {counts['len'].sum()}")


for zone, first in FIRST_DAYS.items():
    at = polars.datetime_range(
        first, first + timedelta(days=4), "10m", closed="left", time_zone=zone, eager=True
    )
    events = polars.DataFrame({"at": at})
    say(f"{zone}, by date", events.group_by(DATE).len().sort("at"))
    say(f"{zone}, dynamic", events.group_by_dynamic("at", every="1d").agg(polars.len()))
PY

cat >expected <<'END'
Africa/Cairo, by date: 04-22 144, 04-23 144, 04-24 138, 04-25 144; in all 570
Africa/Cairo, dynamic: 04-22 144, 04-23 138, 04-23 138, 04-25 144; in all 564
Asia/Beirut, by date: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
Asia/Beirut, dynamic: 03-27 144, 03-28 138, 03-28 138, 03-30 144; in all 564
America/Santiago, by date: 09-04 144, 09-05 144, 09-06 138, 09-07 144; in all 570
America/Santiago, dynamic: 09-04 144, 09-05 138, 09-05 138, 09-07 144; in all 564
Europe/Berlin, by date: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
Europe/Berlin, dynamic: 03-27 144, 03-28 144, 03-29 138, 03-30 144; in all 570
END

venv/bin/python run.py | tee seen
diff expected seen
