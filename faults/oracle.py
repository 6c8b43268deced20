"""The oracle: what must be in the database, worked out from the lines that were sent.

It does not use Signal's code. A day of the oracle is a dictionary of lines by their
`clientEventId`.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random

MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Safari/537.36"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BUCKETS_OF_BOT = ("Other", "unknown", "unknown")
# The app shows by which way an event came.
OF_LANDING, OF_COMMAND, OF_API = (
    "cms",
    "journeys-admin",
    "videos-admin",
)
HOSTS = {
    OF_LANDING: "cms.example.org",
    OF_COMMAND: "admin.example.org",
    OF_API: "videos-admin.example.org",
}
TYPES = ("journey_create_clicked", "editor_analytics_overlay_opened")
Line = dict[str, str]


def lines_of(day: date, app_name: str, count: int, random: Random) -> list[Line]:
    """Return good lines of a few people on one day."""
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    lines = []
    for _ in range(count):
        line = {
            "eventType": random.choice(TYPES),
            "appName": app_name,
            "clientEventId": str(uuid.UUID(int=random.getrandbits(128), version=4)),
            "createdAt": (start + timedelta(seconds=random.randrange(86_400))).isoformat(),
            "ip": f"10.1.0.{random.randrange(8)}",
            "userAgent": random.choice((MAC, WINDOWS)),
            "sessionId": str(uuid.UUID(int=random.randrange(1, 20))),
        }
        if random.random() < 0.7:
            line["route"] = random.choice(("/", "/journeys", "/videos/[videoId]"))
        if random.random() < 0.4:
            line |= {
                "entityType": "journey",
                "entityId": str(uuid.UUID(int=random.randrange(1, 6))),
            }
        lines.append(line)
    return lines


def encode(lines: Iterable[Line]) -> bytes:
    """Return the lines as NDJSON."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def user_hash(secret: str, day: date, line: Line) -> bytes:
    """Return the hash of a line's person, spelled out from requirement 2."""
    salt = hmac.digest(secret.encode(), str(day).encode(), "sha256")
    browser = "Chrome|150|macOS" if line["userAgent"] == MAC else "Firefox|140|Windows"
    return hmac.digest(
        salt, f"{HOSTS[line['appName']]}\x1f{line['ip']}\x1f{browser}".encode(), "sha256"
    )


@dataclass(slots=True)
class Day:
    """One day: the stored lines, the erased ones, and whether it is purged.

    `landing_drops` counts what the landing dropped (lines of an unknown type, and bots);
    `landing_bots` counts the bots.
    """

    stored: dict[str, Line] = field(default_factory=dict)
    erased: dict[str, Line] = field(default_factory=dict)
    landing_drops: int = 0
    landing_bots: int = 0
    purged: bool = False

    def add(self, lines: Iterable[Line]) -> None:
        """Expect the lines to be accepted, once each."""
        self.stored |= {
            line["clientEventId"]: line
            for line in lines
            if line["clientEventId"] not in self.erased
        }

    def erase(self, app_name: str, ip: str, user_agent: str) -> None:
        """Erase the lines of one person."""
        theirs = {
            key: line
            for key, line in self.stored.items()
            if (line["appName"], line["ip"], line["userAgent"]) == (app_name, ip, user_agent)
        }
        self.erased |= theirs
        self.stored = {key: line for key, line in self.stored.items() if key not in theirs}

    def accepted(self, app_name: str) -> int:
        """Return how many events of an app the books must count as accepted."""
        return sum(
            line["appName"] == app_name for line in [*self.stored.values(), *self.erased.values()]
        )

    def rollup(self, dimensions: tuple[str, ...]) -> Counter[tuple[str, ...]]:
        """Return the rows of a rollup as a multiset of texts.

        The columns are app, type, dimensions, events, users, sessions.
        """
        groups: dict[tuple[str, ...], list[Line]] = {}
        for line in self.stored.values():
            if "entityType" in dimensions and "entityType" not in line:
                continue
            key = tuple(line.get(name, "(none)") for name in dimensions)
            for event_type in (line["eventType"], "(all)"):
                groups.setdefault((line["appName"], event_type, *key), []).append(line)
        return Counter(
            (
                *key,
                str(len(lines)),
                str(len({(line["ip"], line["userAgent"]) for line in lines})),
                str(len({line["sessionId"] for line in lines})),
            )
            for key, lines in groups.items()
        )
