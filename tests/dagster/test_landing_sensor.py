"""What waits in the landing asks for a run, and what failed waits longer each time."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timedelta, tzinfo

import dagster as dg
import pytest
from support.dagster import Run
from support.days import today
from support.ticks import AddRun, Tick, cursor_of, requests, skipped
from support.traffic import line

from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_a_landed_file_asks_for_one_run_until_it_is_done(
    tick: Tick, run: Run, environment: Settings, instance: dg.DagsterInstance, add_run: AddRun
) -> None:
    assert requests(tick("landing_sensor")) == []
    environment.landing_path.mkdir()
    (environment.landing_path / "half.tmp").write_bytes(line())
    (environment.landing_path / ".hidden.ndjson").write_bytes(line())
    assert requests(tick("landing_sensor")) == []
    os.rename(environment.landing_path / "half.tmp", environment.landing_path / "whole.ndjson")
    result = tick("landing_sensor")
    (request,) = requests(result)
    assert request.partition_key == str(today())
    assert isinstance(result, dg.SensorResult)
    running = add_run("raw_events_job", dg.DagsterRunStatus.STARTED)
    assert requests(tick("landing_sensor", result.cursor)) == []
    instance.report_run_canceled(running)
    assert run("raw_events_job", today()).success
    assert requests(tick("landing_sensor")) == []
    (environment.landing_path / "next.ndjson").write_bytes(line())
    (again,) = requests(tick("landing_sensor", result.cursor))
    assert again.run_key != request.run_key


class _YearAgo(datetime):
    """A clock that is set right after the runs of a year to come."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        """Return the time of a year ago."""
        return datetime.now(tz) - timedelta(days=365)


def test_a_landed_file_that_fails_waits_longer_each_time(
    tick: Tick,
    run: Run,
    environment: Settings,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    connection: Connection,
) -> None:
    environment.landing_path.mkdir()
    bad = environment.landing_path / "a-bad.ndjson"
    bad.symlink_to("/proc/self/mem")  # Even root cannot read this file.
    (environment.landing_path / "b-good.ndjson").write_bytes(line())
    failed = run("raw_events_job", today())
    assert not failed.success
    assert connection.execute("select count(*) from signal.events").fetchone() == (1,)
    logged = [entry.user_message for entry in instance.all_logs(failed.run_id)]
    assert any(
        text.startswith("landing: 1 file(s) done, events: {'received': 1") for text in logged
    )
    assert "the last 1 run(s) of raw_events_job failed, the next is at" in skipped(
        tick("landing_sensor", "7")
    )
    with monkeypatch.context() as behind:  # As if the clock had been ahead until now.
        behind.setattr("signal_pipeline.dagster.sensors.datetime", _YearAgo)
        assert len(requests(tick("landing_sensor", "7"))) == 1
    monkeypatch.setattr("signal_pipeline.dagster.due_builds.FIRST_BACKOFF", timedelta(0))
    assert len(requests(tick("landing_sensor"))) == 1


def test_whatever_waits_asks_for_a_run_and_what_comes_later_does_not_wait_behind_what_failed(
    tick: Tick, run: Run, environment: Settings, connection: Connection
) -> None:
    environment.landing_path.mkdir()
    bad = environment.landing_path / "array.JSON"
    bad.write_bytes(b"[" + line() + b"]")
    asked = tick("landing_sensor")
    (request,) = requests(asked)
    assert request.partition_key == str(today())
    for _ in range(2):
        failed = run("raw_events_job", today())
        assert not failed.success
        assert not [event for event in failed.all_events if event.is_step_up_for_retry]
        (failure,) = [
            event.step_failure_data for event in failed.all_events if event.is_step_failure
        ]
        assert "'array.JSON' looks like a JSON array" in str(failure.error)
        asked = tick("landing_sensor", cursor_of(asked))
        assert "1 file(s) wait: the last" in skipped(asked)
    with bad.open("ab") as stream:
        stream.write(b"\n")
    bad.chmod(0o640)
    assert "1 file(s) wait: the last" in skipped(tick("landing_sensor", cursor_of(asked)))
    (environment.landing_path / "later.jsonl").write_bytes(line())
    asked = tick("landing_sensor", cursor_of(asked))
    assert len(requests(asked)) == 1
    assert not run("raw_events_job", today()).success
    assert connection.execute("select count(*) from signal.events").fetchone() == (1,)
    assert requests(tick("landing_sensor", cursor_of(asked))) == []
    bad.unlink()
    result = tick("landing_sensor")
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "the landing is empty"


def test_the_cursor_holds_marks_that_only_the_secret_can_make(
    tick: Tick, run: Run, environment: Settings
) -> None:
    environment.landing_path.mkdir()
    bad = environment.landing_path / "198.51.100.7.json"
    bad.write_bytes(b"[]")
    assert not run("raw_events_job", today()).success
    name = b"%d/%s" % (bad.stat().st_ino, bad.name.encode())
    plain = hashlib.sha256(name).hexdigest()[:16]  # The mark of an older version.
    asked = tick("landing_sensor", json.dumps({"asked": 7, "marks": [plain]}))
    (request,) = requests(asked)
    assert request.run_key == "landing-8"
    assert plain not in str(cursor_of(asked))
    again = tick("landing_sensor", cursor_of(asked))
    assert "1 file(s) wait: the last" in skipped(again)
    bad.unlink()
    empty = tick("landing_sensor", cursor_of(again))
    assert skipped(empty) == "the landing is empty"
    assert json.loads(str(cursor_of(empty))) == {"asked": 8, "marks": []}


def test_files_wait_for_the_back_off_if_the_secret_is_missing(
    tick: Tick, run: Run, environment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.landing_path.mkdir()
    (environment.landing_path / "a.ndjson").write_bytes(line())
    monkeypatch.setenv("SIGNALS_SALT_SECRET", "short")
    asked = tick("landing_sensor")
    assert len(requests(asked)) == 1
    assert not run("raw_events_job", today()).success
    waits = tick("landing_sensor", cursor_of(asked))
    assert "1 file(s) wait: the last" in skipped(waits)
    assert "1 file(s) wait: the last" in skipped(tick("landing_sensor", cursor_of(waits)))
