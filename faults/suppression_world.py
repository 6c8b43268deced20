"""Small worlds for the patient analyst.

They have a few days, apps, types and routes, and few people on rare devices.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import product
from random import Random
from typing import NamedTuple

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

GECKO, WEBKIT = "(KHTML, like Gecko)", "AppleWebKit/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15"
IPAD = "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15"
MAC, WINDOWS, LINUX = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
    "Mozilla/5.0 (X11; Linux x86_64)",
)
PHONE, TABLET = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9)",
    "Mozilla/5.0 (Linux; Android 15; Pixel Tablet)",
)
CHROME = f"{WEBKIT} {GECKO} Chrome/150.0.0.0"
# The machines of people: device, browser, system, user agent, and how many of a hundred people have
# one.
SEATS = (
    ("desktop", "Chrome", "macOS", f"{MAC} {CHROME} Safari/537.36", 39),
    ("desktop", "Chrome", "Windows", f"{WINDOWS} {CHROME} Safari/537.36", 21),
    ("desktop", "Chrome", "Linux", f"{LINUX} {CHROME} Safari/537.36", 5),
    (
        "desktop",
        "Safari",
        "macOS",
        f"{MAC} AppleWebKit/605.1.15 {GECKO} Version/18.6 Safari/605.1.15",
        10,
    ),
    (
        "desktop",
        "Firefox",
        "Windows",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
        8,
    ),
    ("mobile", "Safari", "iOS", f"{IPHONE} {GECKO} Version/18.6 Mobile/15E148 Safari/604.1", 5),
    ("mobile", "Chrome", "iOS", f"{IPHONE} {GECKO} CriOS/150.0.0.0 Mobile/15E148 Safari/604.1", 2),
    ("mobile", "Chrome", "Android", f"{PHONE} {CHROME} Mobile Safari/537.36", 6),
    ("tablet", "Chrome", "Android", f"{TABLET} {CHROME} Safari/537.36", 2),
    ("tablet", "Safari", "iOS", f"{IPAD} {GECKO} Version/18.6 Mobile/15E148 Safari/604.1", 2),
)
# Which device types a system runs on is publicly known.
DEVICES_OF = {
    system: {seat[0] for seat in SEATS if seat[2] == system} for _, _, system, _, _ in SEATS
}
APPS = ("cms", "journeys-admin")
TYPES = (
    "journey_create_clicked",
    "editor_analytics_overlay_opened",
    "editor_strategy_overlay_opened",
)
ROUTES = ("/", "/journeys", "/journeys/[journeyId]")


class Click(NamedTuple):
    """One event, as the world knows it."""

    day: date
    app_name: str
    event_type: str
    route: str
    device_type: str
    browser_family: str
    os_family: str
    user_agent: str
    person: int

    def value(self, dimension: str) -> str:
        """Return its value of a dimension, as a text."""
        return str(getattr(self, dimension))


def make_world(seed: int, days: Sequence[date], people: tuple[int, int] = (6, 40)) -> list[Click]:
    """Return clicks of a few days; most people do the common thing, few the rare one."""
    random = Random(seed)
    clicks = []
    for day, app in product(days, APPS):
        for person in range(random.randint(*people)):
            device, browser, system, agent, _ = random.choices(SEATS, [seat[-1] for seat in SEATS])[
                0
            ]
            for _ in range(random.randint(1, 4)):
                kind = random.choices(TYPES, (70, 22, 8))[0]
                route = random.choices(ROUTES, (60, 30, 10))[0]
                clicks.append(Click(day, app, kind, route, device, browser, system, agent, person))
    return clicks


def store(
    clicks: Iterable[Click],
    database: Database,
    settings: Settings,
    models: Models,
    engine: Engine,
) -> None:
    """Ingest the clicks and build their days."""
    lines = [_line(number, click) for number, click in enumerate(clicks)]
    with closing(Ingest.from_settings(settings, database)) as ingest:
        assert ingest.ingest_lines(lines).accepted == len(lines)
    for day in sorted({click.day for click in clicks}):
        build_day(database, engine, models, day)


def _line(number: int, click: Click) -> bytes:
    at = datetime(click.day.year, click.day.month, click.day.day, 12, tzinfo=UTC) + timedelta(
        seconds=number % 3600
    )
    return json.dumps(
        {
            "eventType": click.event_type,
            "appName": click.app_name,
            "route": click.route,
            "clientEventId": str(uuid.uuid4()),
            "sessionId": str(uuid.UUID(int=1 + click.day.toordinal() * 1000 + click.person)),
            "createdAt": at.isoformat(),
            # Each person has an address, since Signal can take a phone and a tablet at one address
            # for one person.
            "ip": f"2001:db8:0:{click.person:x}::1",
            "userAgent": click.user_agent,
        }
    ).encode()
