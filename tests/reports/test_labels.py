"""Each number of a report is labelled with the states of its days."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Fill
from support.days import days_ago, due_day, today
from support.reports import SUNDAY, WINDOW, BuildDays, Models, frame, states
from support.traffic import line

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.reports.of_rollups import rollup_report
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_today_is_partial(
    database: Database, models: Models, ingest: Ingest, build_days: BuildDays
) -> None:
    ingest.ingest_lines([line(), line(datetime.now(UTC) - timedelta(days=1))])
    build_days(today(), days_ago(1))
    yesterday = str(days_ago(1))
    assert states(database, models, days_ago(1), today()) == {
        str(today()): "partial",
        yesterday: "fresh",
    }
    raw = frame(raw_report(database, ["day"], {}, days_ago(1), today()))
    assert dict(zip(raw["activity_date"].map(str), raw["state"], strict=True)) == {
        str(today()): "partial",
        yesterday: "exact",
    }
    assert set(frame(raw_report(database, ["app"], {}, days_ago(1), today()))["state"]) == {
        "partial"
    }


def test_a_stale_day_is_stale_in_its_row_and_in_every_sum(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    saturday = SUNDAY - timedelta(days=1)
    for day in (saturday, SUNDAY):
        fill(day)
    build_days(saturday, SUNDAY)
    fill(SUNDAY, seed=2)
    assert states(database, models, saturday, SUNDAY) == {
        str(saturday): "fresh",
        str(SUNDAY): "stale",
    }
    assert set(states(database, models, saturday, SUNDAY, by="total").values()) == {"stale"}
    (note,) = rollup_report(database, models, "app", saturday, SUNDAY).notes
    assert note.startswith("1 day(s) have newer events")
    assert str(SUNDAY) in note


def test_a_day_that_was_never_built_is_missing_from_the_sum_and_said_so(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    for day in WINDOW:
        fill(day)
    build_days(WINDOW[0], WINDOW[2])
    report = rollup_report(database, models, "app", WINDOW[0], WINDOW[2], by="total")
    assert set(frame(report)["state"]) == {"missing"}
    (note,) = report.notes
    assert (
        note == f"1 day(s) were never built, so they are unknown and not in these numbers: {SUNDAY}"
    )


def test_a_week_that_the_window_cuts_is_partial(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    monday = SUNDAY - timedelta(days=6)
    for day in (monday, SUNDAY):
        fill(day)
    build_days(*(monday + timedelta(days=n) for n in range(7)))
    assert set(states(database, models, monday, SUNDAY, by="week").values()) == {"fresh"}
    assert set(
        states(database, models, monday, SUNDAY - timedelta(days=1), by="week").values()
    ) == {"partial"}


def test_missing_raw_events_are_labelled(database: Database, fill: Fill) -> None:
    fill(SUNDAY)
    with database.connect() as connection:
        connection.execute("delete from signal.events where device_type = 'mobile'")
    assert set(frame(raw_report(database, ["app"], {}, SUNDAY, SUNDAY))["state"]) == {"incomplete"}


def test_incomplete_days_are_labelled_for_ever(
    database: Database, models: Models, fill: Fill, build_days: BuildDays
) -> None:
    due = due_day()
    fill(due)
    build_days(due)
    fill(due, seed=2)  # The build is stale now, so the day fails its proof.
    purge_incomplete(database, models, due, "a test", 180)
    assert states(database, models, due, due) == {str(due): "incomplete, purged"}


def test_a_day_with_many_missing_addresses_is_degraded_for_that_app_alone(
    database: Database, models: Models, ingest: Ingest, build_days: BuildDays
) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    one_in_a_hundred = [line(noon, appName="cms", ip="10.0.0.1" if n else None) for n in range(100)]
    two_in_a_hundred = [
        line(noon, ip="10.0.0.1" if n > 1 else ("nowhere" if n else None)) for n in range(100)
    ]
    ingest.ingest_lines([*one_in_a_hundred, *two_in_a_hundred])
    build_days(SUNDAY)
    rows = frame(rollup_report(database, models, "app", SUNDAY, SUNDAY, event_type="(all)"))
    assert dict(zip(rows["app_name"], rows["state"], strict=True)) == {
        "cms": "fresh",
        "journeys-admin": "degraded",
    }
    raw = frame(raw_report(database, ["app"], {}, SUNDAY, SUNDAY))
    assert dict(zip(raw["app_name"], raw["state"], strict=True)) == {
        "cms": "exact",
        "journeys-admin": "degraded",
    }
    assert set(frame(raw_report(database, ["device"], {}, SUNDAY, SUNDAY))["state"]) == {"degraded"}


@pytest.mark.parametrize(("app", "label"), [("cms", None), ("journeys-admin", "degraded")])
def test_a_filter_by_app_is_judged_by_that_app_alone(
    database: Database,
    models: Models,
    ingest_at: Callable[[datetime], Ingest],
    build_days: BuildDays,
    app: str,
    label: str | None,
) -> None:
    due = due_day()
    noon = datetime(due.year, due.month, due.day, 12, tzinfo=UTC)
    ingest_at(noon).ingest_lines([line(noon, appName="cms"), line(noon, ip=None)])
    build_days(due)
    for keys in (["device"], ["device", "app"]):
        raw = raw_report(database, keys, {"app": app}, due, due)
        assert raw.labels == [[label or "exact"]]
    assert purge_due_days(database, models, 180).purged == [due]
    for keys in (["device"], ["device", "app"]):
        rollup = grouped_report(database, models, keys, {"app": app}, due, due)
        assert rollup.labels == [[*filter(None, [label]), "purged"]]


def test_a_day_of_two_rules_of_names_is_over_counted(
    database: Database,
    models: Models,
    ingest: Ingest,
    connection: Connection,
    build_days: BuildDays,
) -> None:
    """An upgrade on this day changes the rules of names.

    A person whose browser is then named differently has two hashes.
    """
    ingest.ingest_lines([line(datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC))])
    build_days(SUNDAY)
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "fresh"}
    # The rows of the version before: it knew only the first rules.
    connection.execute(
        "insert into signal.day_keys (day, key_id) select day, key_id from signal.day_keys"
    )
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "over-counted"}
    assert set(frame(raw_report(database, ["app"], {}, SUNDAY, SUNDAY))["state"]) == {
        "over-counted"
    }


def test_a_day_of_two_secrets_is_over_counted(
    database: Database, models: Models, settings: Settings, ingest: Ingest, build_days: BuildDays
) -> None:
    noon = datetime(SUNDAY.year, SUNDAY.month, SUNDAY.day, 12, tzinfo=UTC)
    ingest.ingest_lines([line(noon)])
    rotated = settings.model_copy(
        update={"salt_secret": type(settings.salt_secret)("another-secret" * 4)}
    )  # type: ignore[misc, call-arg, arg-type]
    with closing(Ingest.from_settings(rotated, database)) as other:
        other.ingest_lines([line(noon)])
    build_days(SUNDAY)
    assert states(database, models, SUNDAY, SUNDAY) == {str(SUNDAY): "over-counted"}
    assert set(frame(raw_report(database, ["app"], {}, SUNDAY, SUNDAY))["state"]) == {
        "over-counted"
    }


def test_a_model_change_inside_the_window_is_noted(
    database: Database, models: Models, connection: Connection, fill: Fill, build_days: BuildDays
) -> None:
    for day in WINDOW:
        fill(day)
    build_days(*WINDOW)
    connection.execute(
        "update signal.builds set model_checksum = 'older' where day = %s", [WINDOW[0]]
    )
    notes = rollup_report(database, models, "app", WINDOW[0], WINDOW[-1]).notes
    assert any(
        str(WINDOW[1]) in note and "the model of daily_app_activity changed" in note
        for note in notes
    )
