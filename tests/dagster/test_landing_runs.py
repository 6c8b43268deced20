"""Runs that drain the landing."""

from __future__ import annotations

import dagster as dg
import pytest
from support.dagster import Run, row_counts
from support.days import today, yesterday

from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_the_landing_is_drained(
    run: Run, environment: Settings, instance: dg.DagsterInstance
) -> None:
    """Raw events drains the landing and profiles the day."""
    from support.traffic import traffic

    environment.landing_path.mkdir(parents=True)
    file = environment.landing_path / "replay.ndjson"
    file.write_bytes(b"\n".join([*traffic(yesterday(), 20), b"torn {"]))
    assert run("raw_events_job", yesterday()).success
    assert not file.exists()
    assert row_counts(instance, "raw_events", yesterday()) == [20]


def test_no_address_reaches_the_run_storage(
    run: Run, environment: Settings, instance: dg.DagsterInstance
) -> None:
    from support.traffic import line

    environment.landing_path.mkdir(parents=True)
    marked = line(ip="198.51.100.77", userAgent="MarkedAgent/9.9 secret-mark")
    (environment.landing_path / "a.ndjson").write_bytes(marked)
    result = run("raw_events_job", today())
    text = " ".join(str(event) for event in instance.all_logs(result.run_id))
    assert result.success
    assert "198.51.100.77" not in text
    assert "secret-mark" not in text


def test_no_private_name_of_a_file_reaches_the_run_storage(
    run: Run, environment: Settings, instance: dg.DagsterInstance
) -> None:
    environment.landing_path.mkdir(parents=True)
    file = environment.landing_path / "jane.doe@example.org.json"
    file.write_bytes(b"[]")
    result = run("raw_events_job", today())
    text = " ".join(str(event) for event in instance.all_logs(result.run_id))
    assert not result.success
    assert "jane" not in text
    assert f"inode {file.stat().st_ino}" in text
