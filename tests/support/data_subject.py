"""One person whose events an officer looks for, and what identifies this person."""

from __future__ import annotations

from support.days import yesterday
from support.traffic import CHROME, line

HOST, ADDRESS = "admin.example.org", "198.51.100.77"
PERSON = f"{HOST}\n{ADDRESS}\n{CHROME}\n".encode()


def person(count: int = 3) -> list[bytes]:
    """Events of one person, yesterday."""
    at = f"{yesterday()}T12:00:00+00:00"
    return [line(createdAt=at, host=HOST, ip=ADDRESS, route="/mine") for _ in range(count)]
