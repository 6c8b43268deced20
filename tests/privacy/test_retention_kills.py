"""A purge that is killed: its process ends by SIGKILL at each of its steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from support.bundle import SignalBundle
from support.kill import wait_for_no_other_session

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.privacy.erasure import Subject, erase

DUE = today_utc() - timedelta(days=181)
STEPS = ["prove", "audit_log.record", "drop_partition"]

# Runs a purge that stops for ever before or after one of its steps.
PURGE = """
import sys, time
from signal_pipeline.postgres.database import Database
from signal_pipeline.privacy import day_purge, retention
from signal_pipeline.rollups.models import load_models

url, step, moment = sys.argv[1:]
*owner, name = step.split(".")
holder = getattr(day_purge, owner[0]) if owner else day_purge
work = getattr(holder, name)

def stop(*values, **named):
    if moment == "after":
        work(*values, **named)
    print("here", flush=True)
    time.sleep(600)

setattr(holder, name, stop)
retention.purge_due_days(Database(url), load_models(), 180)
"""

EVERYTHING = """
select 'events', array_agg(e::text order by e::text) from signal.events as e
union all select 'keys', array_agg(k::text order by k::text) from signal.event_keys as k
union all select 'days', array_agg(d::text order by d::text) from signal.days as d
union all select 'books', array_agg(b::text order by b::text) from signal.books as b
union all select 'builds', array_agg(b::text order by b::text) from signal.builds as b
union all select 'receipts', array_agg(r::text order by r::text) from signal.receipts as r
union all select 'audit', array_agg(a::text order by a::text) from signal.audit as a
"""
ROLLUPS = "select r::text from signal.daily_route_activity as r order by 1"


@pytest.fixture
def kill_purge(bundle: SignalBundle) -> Callable[[str, str], list[tuple[object, ...]]]:
    """Fills and builds a due day.

    The function kills a purge of it before or after a step, and returns what there was.
    """
    bundle.fill(DUE, 40)
    bundle.build(DUE)

    def kill(step: str, moment: str) -> list[tuple[object, ...]]:
        before = bundle.rows(EVERYTHING)
        command = [sys.executable, "-c", PURGE, bundle.database.url, step, moment]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as purge:
            assert purge.stdout is not None
            assert purge.stdout.readline() == "here\n"
            purge.kill()
        wait_for_no_other_session(bundle.database)
        return before

    return kill


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_nothing_of_a_killed_purge_is_done_and_the_next_run_does_it_all(
    bundle: SignalBundle,
    kill_purge: Callable[[str, str], list[tuple[object, ...]]],
    step: str,
    moment: str,
) -> None:
    numbers = bundle.rows(ROLLUPS)
    assert kill_purge(step, moment) == bundle.rows(EVERYTHING)
    assert bundle.purge().purged == [DUE]
    assert bundle.rows(ROLLUPS) == numbers
    assert bundle.rows("select count(*) from signal.events") == [(0,)]
    assert bundle.rows("select count(*) from signal.event_keys") == [(0,)]
    assert bundle.rows("select day, raw_events, keys from signal.receipts") == [(DUE, 40, 40)]
    assert bundle.purge().purged == []


def test_an_erasure_after_a_killed_purge_still_finds_the_person(
    bundle: SignalBundle, kill_purge: Callable[[str, str], list[tuple[object, ...]]]
) -> None:
    """Killed with all of its work done: after any other step the database is the same."""
    kill_purge(STEPS[-1], "after")
    ((user, events),) = bundle.rows(
        "select user_hash, count(*) from signal.events group by 1 order by 2 desc, 1 limit 1"
    )
    certificate = erase(bundle.database, Subject.user(user, DUE), b"a" * 32)
    assert [(day.day, day.events) for day in certificate.days] == [(DUE, events)]
    assert _kept_for_being_stale(bundle) == [DUE]
    bundle.build(DUE)
    assert bundle.purge().purged == [DUE]
    assert bundle.rows("select raw_events, erased from signal.receipts") == [(40 - events, events)]


def _kept_for_being_stale(bundle: SignalBundle) -> list[date]:
    result = bundle.purge()
    assert all("is stale" in reason for reason in result.kept.values())
    return list(result.kept)
