"""The rows that sly payloads must become, compared with the rows that are stored."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from faults.oracle import HOSTS
from faults.sly_values import Agent
from signal_pipeline.postgres.database import Connection

PER_QUERY = 5_000


@dataclass(frozen=True, slots=True)
class Stored:
    """The values that a row must have; if `created_at` is None, the server's clock decides."""

    app_name: str
    event_type: str
    route: str | None
    entity_id: str | None
    session_id: str | None
    description: str | None
    agent: Agent
    address: str
    host: str
    created_at: datetime | None

    def as_on_the_wire(self) -> Stored:
        """Return what the same payload becomes over HTTP.

        There the server uses its own clock, and the app's host.
        """
        return replace(self, host=HOSTS[self.app_name], created_at=None)


def differences(connection: Connection, secret: str, expected: Mapping[str, Stored]) -> list[str]:
    """Return what is wrong with the rows of these ids, one sentence for each that differs.

    The sentences name columns, not values.
    """
    found, keys = [], list(expected)
    for ids in (keys[at : at + PER_QUERY] for at in range(0, len(keys), PER_QUERY)):
        rows = connection.execute(
            "select client_event_id::text, app_name, event_type, route, entity_id,"
            " session_id::text, description::text, device_type, browser_family, os_family,"
            " created_at, user_hash from signal.events where client_event_id = any(%s::uuid[])",
            [ids],
        ).fetchall()
        kept = {str(row[0]): row[1:] for row in rows}
        found += [f"{key}: not stored" for key in ids if key not in kept]
        found += [
            f"{key}: {', '.join(wrong)}"
            for key, row in kept.items()
            if (wrong := _wrong(row, expected[key], secret))
        ]
    return found


def _wrong(row: tuple[Any, ...], wanted: Stored, secret: str) -> list[str]:
    (
        app_name,
        event_type,
        route,
        entity,
        session,
        description,
        device,
        browser,
        system,
        created_at,
        user_hash,
    ) = row
    salt = hmac.digest(
        secret.encode(), created_at.astimezone(UTC).date().isoformat().encode(), "sha256"
    )
    person = f"{wanted.host}\x1f{wanted.address}\x1f{wanted.agent.normalised}"
    pairs = {
        "app_name": (app_name, wanted.app_name),
        "event_type": (event_type, wanted.event_type),
        "route": (route, wanted.route),
        "entity_id": (entity, wanted.entity_id),
        "session_id": (session, wanted.session_id),
        "description": (_exact(description), _exact(wanted.description)),
        "agent": (
            (device, browser, system),
            (wanted.agent.device, wanted.agent.browser, wanted.agent.system),
        ),
        "created_at": (created_at, wanted.created_at or created_at),
        "user_hash": (bytes(user_hash), hmac.digest(salt, person.encode(), "sha256")),
    }
    return [name for name, (stored, right) in pairs.items() if stored != right]


def _exact(text: str | None) -> object:
    return None if text is None else json.loads(text, parse_int=Decimal, parse_float=Decimal)
