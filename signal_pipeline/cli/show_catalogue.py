"""Shows the catalogue, and how its event types are used."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from signal_pipeline.cli import console

if TYPE_CHECKING:  # The command must start fast.
    from signal_pipeline.catalogue.load import Catalogue
    from signal_pipeline.reports.event_type_usage import Usage


def show_catalogue(catalogue: Catalogue, usage: Usage, today: date) -> None:
    """Show the event types with their use, then the apps and entity types."""
    rows = []
    seen = usage.seen or {}
    for kind in catalogue.event_types.values():
        used = seen.get(kind.name)
        entity = (
            f"{kind.entity or ''}{'' if kind.entity_required or not kind.entity else ' (if known)'}"
        )
        fields = (kind.description_schema or {}).get("properties")
        described = ", ".join(map(str, fields)) if isinstance(fields, dict) else ""
        use = (used.events, used.last_day) if used else ("", "")
        fires_when = " ".join(kind.fires_when.split())
        rows.append(
            (kind.name, usage.state(kind, today), *use, entity, described, kind.owner, fires_when)
        )
    columns = (
        "event type",
        "state",
        "events",
        "last day",
        "entity",
        "description",
        "owner",
        "fires when",
    )
    console.print_table(columns, rows, right=(2,), to=console.out)
    for title, entries in (("apps", catalogue.apps), ("entity types", catalogue.entity_types)):
        names = (
            f"{entry.name}{' (retired)' if entry.retired else ''}" for entry in entries.values()
        )
        console.say(f"{title}: {', '.join(names)}", to=console.out)
    for state in ("never seen", "long dead"):
        named = [
            kind.name
            for kind in catalogue.event_types.values()
            if usage.state(kind, today) == state
        ]
        none = "not known" if state == "long dead" and usage.has_gaps else "none"
        if usage.seen is not None:
            console.say(f"{state}: {', '.join(named) or none}", to=console.out)
    dropped = [
        name
        for name, kind in catalogue.event_types.items()
        if usage.state(kind, today) == "dropped"
    ]
    if dropped:
        console.say(
            f"note: events of {', '.join(dropped)} arrive, but all of them are dropped: the view"
            " signal_reporting.drops says why"
        )
    for note in usage.notes:
        console.say(f"note: {note}")
