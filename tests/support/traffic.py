"""Landing lines for tests."""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, timedelta
from random import Random

CHROME = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
    " Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
)


def line(at: datetime | None = None, **changes: object) -> bytes:
    """One good landing line; a change to None removes the key."""
    fields: dict[str, object] = {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "route": "/journeys",
        "clientEventId": str(uuid.uuid4()),
        "createdAt": at.isoformat() if at else None,
        "ip": "10.0.0.1",
        "userAgent": CHROME,
        **changes,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


def traffic(day: date, count: int, seed: int = 1) -> list[bytes]:
    """`count` good lines of one day.

    They come from several people, apps, devices, sessions, entities and routes.
    """
    random = Random(f"{seed} {day}")
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    lines = []
    for _ in range(count):
        entity = random.random() < 0.4
        person, agent, tab = random.randrange(12), random.randrange(2), random.randrange(3)
        lines.append(
            line(
                start + timedelta(milliseconds=random.randrange(86_400_000)),
                eventType=random.choice(
                    ["journey_create_clicked", "editor_analytics_overlay_opened"]
                ),
                appName=random.choice(["journeys-admin", "cms"]),
                route=random.choice([None, "/", "/journeys/[journeyId]"]),
                clientEventId=str(uuid.UUID(int=random.getrandbits(128), version=4)),
                sessionId=random.choice(
                    [None, str(uuid.UUID(int=1 + person * 6 + agent * 3 + tab))]
                ),
                ip=f"10.0.0.{person}",
                userAgent=(CHROME, IPHONE)[agent],
                entityType="journey" if entity else None,
                entityId=str(uuid.UUID(int=random.randrange(1, 9))) if entity else None,
            )
        )
    return lines
