"""What a model can say, and what both engines refuse."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.rollup_events import (
    DAY,
    START,
    AddRollup,
    Event,
    build,
    insert,
    stored_rows,
)

from signal_pipeline.postgres.database import Connection, DatabaseError
from signal_pipeline.rollups.engine import Engine, EngineError
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.rollup_tables import migrate_rollups


def test_every_type_of_column_survives(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "typed",
        "case when min(route) is null then null else '' end as empty,\n"
        "cast(count(*) as integer) as small,\n"
        "cast(count(*) as double precision) / 3 as share,\n"
        "count(route) > 0 as routed,\n"
        "min(created_at) as first_event,\n"
        "cast(min(created_at) as date) as first_date",
        "",
        "\n".join(
            f"      - {{name: {name}, data_type: {data_type}, description: Made up.}}"
            for name, data_type in (
                *(("empty", "text"), ("small", "integer"), ("share", "double precision")),
                *(("routed", "boolean"), ("first_event", "timestamptz"), ("first_date", "date")),
            )
        ),
        "activity_date, app_name, event_type",
    )
    models = {"typed": load_models(folder)["typed"]}
    migrate_rollups(day, models)
    night = START + timedelta(hours=2, microseconds=123456)  # Still the day before in New York.
    insert(day, [Event(night), Event(night, app_name="videos-admin", route="/")])
    day.execute("set time zone 'America/New_York'")
    build(engine, day, models)
    common = (1, 1 / 3)
    assert sorted(stored_rows(day, "typed")) == [
        (DAY, "cms", "clicked", None, *common, False, night, DAY, 1, 1, 0),
        (DAY, "videos-admin", "clicked", "", *common, True, night, DAY, 1, 1, 0),
    ]


def test_a_rollup_may_read_the_description(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "daily_language_activity",
        "coalesce(description ->> 'language', '(none) %') as language",
        "coalesce(description ->> 'language', '(none) %')",
        "      - {name: language, data_type: text, description: Picked., tests: [not_null]}",
        "activity_date, app_name, event_type, language",
    )
    models = {"daily_language_activity": load_models(folder)["daily_language_activity"]}
    migrate_rollups(day, models)
    odd = 'a "quote", a \\ and a\nnew line'
    insert(
        day,
        [Event(START, description=d) for d in (None, {}, {"language": odd}, {"language": "de"})],
    )
    build(engine, day, models)
    assert set(stored_rows(day, "daily_language_activity")) == {
        (DAY, "cms", "clicked", "(none) %", 2, 1, 0),
        (DAY, "cms", "clicked", odd, 1, 1, 0),
        (DAY, "cms", "clicked", "de", 1, 1, 0),
    }


def test_rows_of_another_day_are_refused(engine: Engine, day: Connection, folder: Path) -> None:
    path = folder / "models/daily_app_activity.sql"
    path.write_text(path.read_text().replace("'UTC'", "'America/New_York'"))
    insert(day, [Event(START)])
    with pytest.raises(EngineError, match="daily_app_activity gave 2 rows of other days"):
        build(engine, day, {"daily_app_activity": load_models(folder)["daily_app_activity"]})


def test_errors_hold_no_text_of_a_row(
    engine: Engine, day: Connection, folder: Path, add_rollup: AddRollup
) -> None:
    add_rollup(
        "failing",
        "sum(cast(route as integer)) as routes",
        "",
        "      - {name: routes, data_type: bigint, description: Made up.}",
        "activity_date, app_name, event_type",
    )
    models = {"failing": load_models(folder)["failing"]}
    migrate_rollups(day, models)
    insert(day, [Event(START, route="/private")])
    with pytest.raises((EngineError, DatabaseError)) as caught:
        build(engine, day, models)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    # The connection can be used for the next build.
    day.execute("delete from signal.events")
    build(engine, day, models)
