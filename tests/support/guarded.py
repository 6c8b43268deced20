"""Days in each state, and rows of a rollup for them."""

from __future__ import annotations

from datetime import date

OPEN_DAY = date(2026, 3, 5)
PURGED_DAY = date(2025, 3, 5)
INSERT = "insert into signal.daily_app_activity values (%s, 'cms', %s, 1, 1, 1)"
ROWS = "select * from signal.daily_app_activity order by 1, 2, 3"
