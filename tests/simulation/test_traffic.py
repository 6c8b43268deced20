"""Simulated traffic: the same for the same seed and day.

It has the troubles of real traffic in known shares.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE, Catalogue, load_catalogue
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import Drop
from signal_pipeline.events.user_agents import parse_user_agent
from signal_pipeline.simulation.traffic import SimulationError, simulate

END = date(2026, 5, 8)  # A Friday.
PER_DAY = 4_000
CATALOGUE = load_catalogue()


def lines_of(
    days: int = 1, end: date = END, seed: int = 1, catalogue: Catalogue = CATALOGUE, **more: Any
) -> list[bytes]:
    chunks = simulate(
        catalogue=catalogue, days=days, events_per_day=PER_DAY, end=end, seed=seed, **more
    )
    return b"".join(chunks).splitlines()


@pytest.fixture(scope="module")
def week() -> list[bytes]:
    """A whole week of lines."""
    return lines_of(days=7)


@pytest.fixture(scope="module")
def events(week: list[bytes]) -> list[dict[str, Any]]:
    """The lines of the week that are JSON."""
    found = []
    for text in week:
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def test_the_same_seed_gives_the_same_lines_and_another_gives_others(week: list[bytes]) -> None:
    assert lines_of(days=7) == week
    assert not set(lines_of(days=7, seed=2)) & set(week)


def test_a_day_is_the_same_with_whichever_others_it_is_made(week: list[bytes]) -> None:
    alone = lines_of(end=END - timedelta(days=3))
    first = week.index(alone[0])
    assert week[first : first + len(alone)] == alone


def test_a_mean_day_has_the_asked_number_of_lines_and_weekends_are_quiet(week: list[bytes]) -> None:
    assert len(week) == pytest.approx(7 * PER_DAY, rel=0.05)
    saturday, monday = lines_of(end=END - timedelta(days=6)), lines_of(end=END - timedelta(days=4))
    assert len(saturday) < len(monday) / 2


def test_a_day_comes_in_the_order_of_its_time() -> None:
    times = [
        text.split(b'"createdAt":"')[1][:24] for text in lines_of() if b'"createdAt":"' in text
    ]
    assert len(times) > PER_DAY / 2
    assert times == sorted(times)


def test_bots_retries_and_bad_lines_come_in_their_shares(
    week: list[bytes], events: list[dict[str, Any]]
) -> None:
    total = len(week)
    bots = sum(parse_user_agent(event.get("userAgent")).bot for event in events)
    assert bots / total == pytest.approx(0.02, rel=0.2)
    sent = Counter(event["clientEventId"] for event in events)
    retries = sum(sent.values()) - len(sent)
    assert retries / total == pytest.approx(0.015, rel=0.2)
    acceptance = Acceptance(CATALOGUE, b"x" * 32, END - timedelta(days=10), 180)
    now = datetime(2026, 5, 10, tzinfo=UTC)
    reasons = Counter(
        checked.reason
        for text in week
        if isinstance(checked := acceptance.check_line(text, now), Drop)
    )
    assert set(reasons) == {
        "bot",
        "malformed",
        "unknown_event_type",
        "unknown_app",
        "invalid_entity",
        "description_pii",
        "description_too_large",
    }
    assert (reasons.total() - reasons["bot"]) / total == pytest.approx(0.01 * 7 / 8, rel=0.3)


def test_retries_carry_the_id_of_their_event_and_a_later_time(events: list[dict[str, Any]]) -> None:
    times: dict[str, list[datetime]] = {}
    for event in events:
        times.setdefault(event["clientEventId"], []).append(
            datetime.fromisoformat(event["createdAt"])
        )
    pauses = [max(sent) - min(sent) for sent in times.values() if len(sent) > 1]
    assert min(pauses) >= timedelta(milliseconds=500)
    assert max(pauses) >= timedelta(days=1)


def test_people_have_no_real_address(events: list[dict[str, Any]]) -> None:
    addresses = {event["ip"] for event in events if "ip" in event}
    assert len(addresses) > 100
    assert all(not ipaddress.ip_address(text).is_global for text in addresses)


def test_browsers_are_a_believable_mix(events: list[dict[str, Any]]) -> None:
    agents = [parse_user_agent(event.get("userAgent")) for event in events]
    devices = Counter(agent.device_type for agent in agents if not agent.bot)
    families = Counter(agent.browser_family for agent in agents if not agent.bot)
    assert {"desktop", "mobile", "tablet", "unknown"} <= set(devices)
    assert families.most_common(1)[0][0] == "Chrome"
    assert {"Chrome", "Safari", "Edge", "Firefox", "Samsung Internet", "Opera"} <= set(families)


def test_nothing_is_later_than_until() -> None:
    until = datetime(2026, 5, 8, 12, tzinfo=UTC)
    cut = lines_of(until=until)
    assert 0 < len(cut) < len(lines_of())
    times = [
        json.loads(text)["createdAt"]
        for text in cut
        if text.endswith(b"}") and b"createdAt" in text
    ]
    assert max(map(datetime.fromisoformat, times)) <= until


def test_what_the_catalogue_has_retired_does_not_occur(tmp_path: Path) -> None:
    document = yaml.safe_load(PACKAGED_CATALOGUE.read_text(encoding="utf-8"))
    document["event_types"]["journey_create_clicked"]["retired"] = True
    document["apps"]["cms"]["retired"] = True
    (tmp_path / "catalogue.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    text = b"\n".join(lines_of(catalogue=load_catalogue(tmp_path / "catalogue.yaml")))
    assert b"journey_create_clicked" not in text
    assert b'"cms"' not in text
    assert b"videos-admin" in text


@pytest.mark.parametrize(("kept", "missing"), [("apps", "event types"), ("event_types", "apps")])
def test_a_catalogue_without_anything_that_the_simulation_knows_is_refused_at_once(
    kept: str, missing: str
) -> None:
    other = {"apps": CATALOGUE.apps, "event_types": CATALOGUE.event_types}
    strange = replace(CATALOGUE, **{name: {} for name in other if name != kept})
    with pytest.raises(SimulationError, match=f"none of the {missing} that the simulation knows"):
        simulate(catalogue=strange, days=1, events_per_day=5, end=END)
