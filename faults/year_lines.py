"""The lines that a day of the long walk sends: by file, by command and over HTTP.

Each line is sent once unless it is a known duplicate.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from random import Random

from faults import oracle

# A person's browser by the present list of crawlers, and a bot by the list of the next release. The
# auditor has an address of its own, because in a hash its browser is the same as that of the Mac.
AUDITORS_ADDRESS = "10.1.1.9"
AUDITOR = oracle.MAC + " ExampleAuditor/1.0"
LATE_DAYS = 10
FILE_LINES, COMMAND_LINES, API_EVENTS, LATE_LINES = 60, 40, 4, 8


class Lines:
    """The lines of one seed; the same call gives the same lines."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def _random(self, *what: object) -> Random:
        return Random("/".join(map(str, (self._seed, *what))))

    def of_file(self, day: date) -> list[oracle.Line]:
        """Return the good lines of the day's landed file."""
        return oracle.lines_of(day, oracle.OF_LANDING, FILE_LINES, self._random(day, "file"))

    def bots(self, day: date) -> list[oracle.Line]:
        """Return lines of a bot in the same file."""
        random = self._random(day, "bots")
        lines = oracle.lines_of(day, oracle.OF_LANDING, random.randrange(4), random)
        return [{**line, "userAgent": oracle.BOT} for line in lines]

    def unknown(self, day: date) -> list[oracle.Line]:
        """Return lines of an event type that nobody knows."""
        random = self._random(day, "unknown")
        lines = oracle.lines_of(day, oracle.OF_LANDING, random.randrange(3), random)
        return [{**line, "eventType": "no_such_type"} for line in lines]

    def late(self, day: date, sent_on: date) -> list[oracle.Line]:
        """Return good lines of `day` in the file of a later day."""
        return oracle.lines_of(
            day, oracle.OF_LANDING, LATE_LINES, self._random(day, "late", sent_on)
        )

    def too_late(self, day: date, sent_on: date) -> list[oracle.Line]:
        """Return a line of a day that is purged."""
        return oracle.lines_of(day, oracle.OF_LANDING, 1, self._random(day, "too late", sent_on))

    def of_command(self, day: date) -> list[oracle.Line]:
        """Return good lines of the day for the command; some are the auditor's."""
        random = self._random(day, "command")
        lines = oracle.lines_of(day, oracle.OF_COMMAND, COMMAND_LINES, random)
        return [
            (
                {**line, "userAgent": AUDITOR, "ip": AUDITORS_ADDRESS}
                if random.random() < 0.1
                else line
            )
            for line in lines
        ]

    def of_api(self, day: date, number: int) -> list[oracle.Line]:
        """Return the events of one request, which belong to one person."""
        lines = oracle.lines_of(day, oracle.OF_API, API_EVENTS, self._random(day, "api", number))
        return [
            {**line, "ip": lines[0]["ip"], "userAgent": lines[0]["userAgent"]} for line in lines
        ]


def someone(lines: Mapping[str, oracle.Line], random: Random) -> oracle.Line | None:
    """Return one line of a day. Its person is the one who asks to be erased."""
    known = [line for line in lines.values() if line["userAgent"] != AUDITOR]
    return random.choice(known) if known else None


def before(day: date, days: int) -> date:
    """Return the date so many days earlier."""
    return day - timedelta(days=days)
