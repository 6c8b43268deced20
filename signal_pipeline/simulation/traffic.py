"""Simulated traffic: realistic landing lines of an internal admin app, including bad ones.

For the same catalogue and volume, a day's lines depend only on the seed and the day. They do not
change with the time of the call, or with the other days of the same call. Addresses come from
private and documentation ranges. `world.yaml` says what the traffic is made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.errors import SignalError
from signal_pipeline.simulation.world import Agent, App, EventType, read_world, shares_of

Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
WEEKDAY_WEIGHTS = (1.22, 1.3, 1.28, 1.24, 1.12, 0.38, 0.46)  # Monday first; their mean is 1.
EVENTS_PER_SESSION = 6
EVENTS_PER_USER = 12
BOT_SHARE, RETRY_SHARE, BAD_SHARE = 0.02, 0.015, 0.01
NO_AGENT_SHARE, NO_ADDRESS_SHARE, NO_SESSION_SHARE = 0.004, 0.002, 0.05
NEXT_DAY_RETRY_SHARE = 0.1  # The share of the retries that come a day later, not seconds later.
LINES_PER_CHUNK = 20_000
# Chrome 120. A new version comes about every 28 days.
FIRST_VERSION, FIRST_VERSION_DAY = 120, date(2023, 12, 5)
_POOL, _DAY = 1, 2  # Tags that keep the random streams of users and days apart.


class SimulationError(SignalError):
    """There is no traffic that the catalogue accepts."""


@dataclass(frozen=True, slots=True)
class _Users:
    """People with a stable address and device."""

    addresses: list[str]
    agents: Ints
    weights: npt.NDArray[np.float64]


def simulate(
    *,
    catalogue: Catalogue,
    days: int,
    events_per_day: int,
    end: date,
    seed: int = 1,
    until: datetime | None = None,
) -> Iterator[bytes]:
    """Return NDJSON in chunks of whole lines, for the `days` UTC days up to `end`, inclusive.

    `events_per_day` is the mean number of lines of a day over a whole week, including retries, bots
    and bad lines. Lines later than `until` are left out. Event types and apps that are retired or
    not in the catalogue occur only in bad lines. Raises SimulationError at once if that leaves no
    app or no event type.
    """
    _apps_and_types(catalogue)
    return _chunks(catalogue, days, events_per_day, end, seed, until)


def _chunks(
    catalogue: Catalogue,
    days: int,
    events_per_day: int,
    end: date,
    seed: int,
    until: datetime | None,
) -> Iterator[bytes]:
    for offset in range(days - 1, -1, -1):
        lines = _day_lines(catalogue, end - timedelta(days=offset), events_per_day, seed, until)
        for first in range(0, len(lines), LINES_PER_CHUNK):
            yield ("\n".join(lines[first : first + LINES_PER_CHUNK]) + "\n").encode()


def _day_lines(
    catalogue: Catalogue, day: date, events_per_day: int, seed: int, until: datetime | None
) -> list[str]:
    rng = _random(seed, _DAY, day.toordinal())
    total = max(1, round(events_per_day * WEEKDAY_WEIGHTS[day.weekday()] * rng.normal(1, 0.03)))
    retries = int(total * RETRY_SHARE)
    times, lines = _first_sends(catalogue, day, total - retries, events_per_day, seed, rng)
    again = rng.choice(len(lines), retries)
    late = rng.random(retries) < NEXT_DAY_RETRY_SHARE
    pauses = np.where(late, DAY_MS, rng.integers(500, 8_000, retries))
    resent = [lines[position] for position in again]
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    moments = np.concatenate([times, times[again] + pauses]) + midnight
    limit = int(until.timestamp() * 1000) if until else None
    every = [*lines, *resent]
    return [
        every[position].replace("@time@", _rfc3339(int(moments[position])), 1)
        for position in np.argsort(moments, kind="stable")
        if limit is None or moments[position] <= limit
    ]


def _first_sends(
    catalogue: Catalogue,
    day: date,
    total: int,
    events_per_day: int,
    seed: int,
    rng: np.random.Generator,
) -> tuple[Ints, list[str]]:
    """Return times in milliseconds of the day, and lines with `@time@` in place of these times."""
    world = read_world()
    apps, types = _apps_and_types(catalogue)
    users = _users(seed, max(20, events_per_day // EVENTS_PER_USER))
    sessions = max(1, total // EVENTS_PER_SESSION)
    session_app = rng.choice(len(apps), sessions, p=shares_of(apps))
    session_user = rng.choice(len(users.addresses), sessions, p=users.weights)
    session_start = _starts(apps, session_app, rng)
    session_of = np.sort(rng.integers(0, sessions, total))
    times = np.minimum(
        session_start[session_of] + rng.exponential(240_000, total).astype(np.int64), DAY_MS - 1
    )
    kinds = rng.choice(len(types), total, p=shares_of(types))
    agents, bots = _agents_as_json(world.agents, day), _agents_as_json(world.bots, day)
    heads = [f'"appName":"{app.name}","host":"{catalogue.apps[app.name].host}"' for app in apps]
    is_bot = rng.random(total) < BOT_SHARE
    bot_agent = rng.choice(len(bots), total, p=shares_of(world.bots))
    fate = rng.random(total)  # One draw per line decides which field it lacks, if any.
    ids = _event_ids(times + (day - date(1970, 1, 1)).days * DAY_MS, rng)
    session_ids = _uuids(sessions, rng)
    bodies = _bodies(types, kinds, seed, rng)
    lines = []
    for i in range(total):
        session = session_of[i]
        user = session_user[session]
        agent = bots[bot_agent[i]] if is_bot[i] else agents[users.agents[user]]
        lines.append(
            "{" + bodies[i] + "," + heads[session_app[session]]
            + (f',"sessionId":"{session_ids[session]}"' if fate[i] < 1 - NO_SESSION_SHARE else "")
            + f',"clientEventId":"{ids[i]}","createdAt":"@time@"'
            + (f',"ip":"{users.addresses[user]}"' if fate[i] > NO_ADDRESS_SHARE else "")
            + (f',"userAgent":{agent}' if abs(fate[i] - 0.5) > NO_AGENT_SHARE / 2 else "")
            + "}"
        )  # fmt: skip
    for position in rng.choice(total, int(total * BAD_SHARE), replace=False):
        lines[position] = _spoil(lines[position], rng)
    return times, lines


def _agents_as_json(agents: Sequence[Agent], day: date) -> list[str]:
    """Return user agents as JSON strings, with the version that browsers have on that day."""
    version = str(FIRST_VERSION + (day - FIRST_VERSION_DAY).days // 28)
    return [json.dumps(agent.text.replace("{v}", version)) for agent in agents]


def _apps_and_types(catalogue: Catalogue) -> tuple[list[App], list[EventType]]:
    """Return the apps and event types that the simulation knows and the catalogue accepts."""
    world = read_world()
    apps = [app for app in world.apps if app.name in _active(catalogue.apps)]
    types = [kind for kind in world.event_types if kind.name in _active(catalogue.event_types)]
    for found, kind in ((apps, "apps"), (types, "event types")):
        if not found:
            raise SimulationError(
                f"the catalogue accepts none of the {kind} that the simulation knows: use the"
                " packaged catalogue, or one that keeps some of its entries"
            )
    return apps, types


def _active(entries: Any) -> set[str]:
    return {name for name, entry in entries.items() if not entry.retired}


def _random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@cache
def _users(seed: int, count: int) -> _Users:
    rng = _random(seed, _POOL, count)
    numbers = rng.integers(0, 2**24, count)
    kinds = rng.random(count)
    addresses = [
        (
            "203.0.113.7"  # An office that shares one address.
            if kind < 0.06
            else (
                f"2001:db8:{number >> 12:x}:{number & 0xFFF:x}::{position + 1:x}"
                if kind < 0.2
                else f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            )
        )
        for position, (number, kind) in enumerate(
            zip(numbers.tolist(), kinds.tolist(), strict=True)
        )
    ]
    activity = rng.pareto(1.6, count) + 0.4
    agents = rng.choice(len(read_world().agents), count, p=shares_of(read_world().agents))
    return _Users(addresses, agents, activity / activity.sum())


def _starts(apps: list[App], app: Ints, rng: np.random.Generator) -> Ints:
    """Return the starts of sessions, in milliseconds of the UTC day.

    Most follow the working days of different time zones; a few are spread over the whole day.
    """
    peaks = np.array([entry.peak_hours for entry in apps], dtype=np.float64)
    peak = peaks[app, rng.integers(0, peaks.shape[1], len(app))]
    hours = np.where(
        rng.random(len(app)) < 0.08,
        rng.uniform(0, 24, len(app)),
        rng.normal(peak, 2.4, len(app)) % 24,
    )
    return np.asarray((hours * 3_600_000).astype(np.int64))


def _uuids(count: int, rng: np.random.Generator) -> list[str]:
    """Return UUIDs of version 4."""
    raw = rng.bytes(16 * count).hex()
    texts = (raw[at : at + 32] for at in range(0, len(raw), 32))
    return [
        f"{t[:8]}-{t[8:12]}-4{t[13:16]}-{'89ab'[int(t[16], 16) & 3]}{t[17:20]}-{t[20:]}"
        for t in texts
    ]


def _event_ids(times: Ints, rng: np.random.Generator) -> list[str]:
    """Return UUIDs of version 7, as the client makes them.

    They begin with their time, in milliseconds since 1970.
    """
    return [
        f"{time >> 16:08x}-{time & 0xFFFF:04x}-7{random[15:]}"
        for time, random in zip(times.tolist(), _uuids(len(times), rng), strict=True)
    ]


@cache
def _entities(seed: int, kind: str) -> list[str]:
    return _uuids(400, _random(seed, _POOL, sum(kind.encode())))


def _bodies(types: list[EventType], kinds: Ints, seed: int, rng: np.random.Generator) -> list[str]:
    """Return the event type, route, entity and description of each event, as parts of JSON."""
    total = len(kinds)
    route_pick = rng.integers(0, 2**16, total)
    popular = np.minimum(rng.zipf(1.4, total) - 1, 399)
    languages = [json.dumps(language, ensure_ascii=False) for language in read_world().languages]
    language = np.minimum(rng.zipf(1.6, total) - 1, len(languages) - 1)
    bodies = []
    for i in range(total):
        kind = types[kinds[i]]
        routes, entity = kind.routes.split(), kind.entity
        body = f'"eventType":"{kind.name}","route":"{routes[route_pick[i] % len(routes)]}"'
        if entity:
            body += f',"entityType":"{entity}","entityId":"{_entities(seed, entity)[popular[i]]}"'
        if kind.name == "ai_translation_language_picked":
            body += f',"description":{{"language":{languages[language[i]]}}}'
        bodies.append(body)
    return bodies


def _spoil(line: str, rng: np.random.Generator) -> str:
    """Return the line with one of the faults of real traffic."""
    fields = json.loads(line)
    trouble = int(rng.integers(0, 8))
    if trouble == 0:
        return line[: len(line) // 2].replace('"createdAt":"@time@"', "")
    troubles: list[dict[str, object]] = [
        {},
        {"eventType": "editor_overlay_opened"},
        {"appName": "watch"},
        {"description": {"contact": [{"Email": "nobody@example.org"}]}},
        {"description": {"note": "ask nobody@example.org"}},
        {"description": {"text": "x" * 2_100}},
        {"entityType": "journey", "entityId": "not-a-uuid"},
        {"route": f"/journeys/{fields['clientEventId']}/edit?tab=1"},
    ]
    return json.dumps({**fields, **troubles[trouble]}, ensure_ascii=False, separators=(",", ":"))


def _rfc3339(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    days, seconds = divmod(seconds, 86_400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{_date_text(days)}T{clock}.{rest:03}Z"


@cache
def _date_text(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
