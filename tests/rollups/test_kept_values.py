"""A rollup keeps nothing that the purge or the erasure of an entity would miss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from signal_pipeline.rollups.models import ModelError, load_models

AddRollup = Callable[..., None]

REFUSED = {
    "entity_id as journey_id": "the column journey_id comes from entity_id",
    "entity_id": "the column entity_type is missing",
    "app_name as entity_type, entity_id": "the column entity_type does not come from entity_type",
    "entity_type as kind, entity_id": "the column kind comes from entity_type",
    "cast(session_id as text) as tab": "the column tab comes from session_id",
    "min(cast(client_event_id as text)) as first": "the column first comes from client_event_id",
    "max(id) as newest": "the column newest comes from id",
    "cast(max(user_hash) as text) as app": "the column app comes from user_hash",
    "cast(array_agg(session_id) as text) as tabs": "the column tabs comes from session_id",
    "case when count(*) > 1 then min(session_id) end as tab": "the column tab comes from session",
    "min(cast(events as text)) as all_of_it": "events is a whole row",
}
ACCEPTED = [
    "entity_type, entity_id",
    "'journey' as entity_type, entity_id",
    "lower(entity_type) as entity_type, min(entity_id) as entity_id",
    "count(distinct entity_id) as entities, count(distinct client_event_id) as sent",
    "count(*) filter (where session_id is null) as without_session",
    "sum(case when session_id is null then 1 else 0 end) as without_session",
    "round(count(id) * 1.0 / count(distinct user_hash)) as per_user",
    "count(events) as rows",
    "entity_type",
    "min(upper(entity_type)) as kind",
    "entity_id is not null as has_entity",
    "case when session_id is null then 'without' else 'with' end as tab",
    "bool_or(entity_id like 'a%') as has_one",
]


def _add(add_rollup: AddRollup, chosen: str) -> None:
    """Add a rollup with these columns outside its grain."""
    names = [column.split()[-1] for column in chosen.split(", ")]
    columns = "\n".join(
        f"      - {{name: {name}, data_type: text, description: Made up.}}" for name in names
    )
    add_rollup("daily_own", chosen, "", columns, "activity_date, app_name, event_type")


@pytest.mark.parametrize(("chosen", "problem"), REFUSED.items())
def test_what_would_outlive_a_purge_or_an_erasure_is_refused(
    add_rollup: AddRollup, folder: Path, chosen: str, problem: str
) -> None:
    _add(add_rollup, chosen)
    with pytest.raises(ModelError) as caught:
        load_models(folder)
    assert str(caught.value).startswith(f"models/daily_own.sql: {problem}")


@pytest.mark.parametrize("chosen", ACCEPTED)
def test_entities_by_their_names_and_counts_of_anything_are_accepted(
    add_rollup: AddRollup, folder: Path, chosen: str
) -> None:
    _add(add_rollup, chosen)
    assert "daily_own" in load_models(folder)


def test_a_value_is_followed_through_every_part_of_the_sql(
    add_rollup: AddRollup, folder: Path
) -> None:
    _add(add_rollup, "1 as tabs")
    path = folder / "models/daily_own.sql"
    part = path.read_text()
    inner = (
        "(select session_id as tab from signal.events where created_at >= $1 and created_at < $2)"
    )
    for value in (f"(select min(tab) from {inner} as inside)", f"array({inner})"):
        path.write_text(part + "\nunion all\n" + part.replace("1 as tabs", f"{value} as tabs"))
        with pytest.raises(ModelError, match="the column tabs comes from session_id"):
            load_models(folder)
    sums = f"(select sum(n) from (select count(tab) as n from {inner} as a group by tab) as b)"
    path.write_text(part.replace("1 as tabs", f"{sums} as tabs"))
    assert "daily_own" in load_models(folder)
