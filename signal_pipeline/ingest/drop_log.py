"""What the log says of dropped events: the reason and the event type, never a value."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.books import ACCEPTED, Outcome

logger = logging.getLogger(__name__)

LOGGED_DROPS = 20

# A reason, and the stated event type, which is empty if there is none or it is not a plain name.
DropKind = tuple[str | None, str]


def kinds_of_drops(events: Iterable[tuple[AcceptedEvent | Drop, Outcome]]) -> Counter[DropKind]:
    """Count the drops among these events by reason and event type."""
    return Counter(
        (outcome.reason, item.stated_type if isinstance(item, Drop) else item.event_type)
        for item, outcome in events
        if outcome is not ACCEPTED and outcome.kind == "dropped"
    )


def log_drops(drops: Counter[DropKind]) -> None:
    """Log one line per reason and event type: the 20 most frequent, and how many more there are.

    A dropped event never fails its caller, but it never vanishes without a trace either.
    """
    for (reason, event_type), number in drops.most_common(LOGGED_DROPS):
        level = logging.INFO if reason == "bot" else logging.WARNING
        logger.log(
            level, "dropped %d event(s)%s: %s", number, event_type and f" of {event_type}", reason
        )
    if len(drops) > LOGGED_DROPS:
        logger.warning("and %d more kinds of drops; the books count all", len(drops) - LOGGED_DROPS)
