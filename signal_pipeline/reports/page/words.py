"""The words that a page explains: states of numbers, reasons of drops."""

from __future__ import annotations

from signal_pipeline.days.quality import DEGRADED_SHARE
from signal_pipeline.events.acceptance import MAX_DESCRIPTION_BYTES
from signal_pipeline.events.event import Reason
from signal_pipeline.reports.small_cells import LEAST_USERS

STATES = {
    "unknown": "There is no number: the day is before the start date, still to come, not built, or"
    " was purged before it was built. It is in no sum and never shown as zero.",
    "left out": f"The number is about fewer than {LEAST_USERS} people, or such a number could be"
    " worked out from it by subtraction, or the day is built in part. Sums without it begin with"
    " ≥.",
    "partial": "The day is not over: its numbers still grow. It is in no median.",
    "stale": "Events came or were erased, or the model changed, after the number was computed.",
    "incomplete": "The raw events were deleted before the number was proven complete: it can be too"
    " low.",
    "degraded": f"More than {100 * DEGRADED_SHARE:g} % of the app's events had no network address,"
    " so people were taken for one another: people a day is too low. Events are right.",
    "over-counted": "Two secrets, or two versions of the rules of names, hashed the day, so that"
    " one person can count twice: people a day is too high. Events are right.",
    "purged": "Final: the raw events are deleted, as the retention promises. The number stays.",
}
REASONS: dict[Reason, str] = {
    "malformed": "not a well-formed event",
    "invalid_field": "a field with a value of the wrong form",
    "unknown_event_type": "a feature that the catalogue does not have, or no longer has",
    "unknown_app": "an app that the catalogue does not have",
    "invalid_entity": "an entity of an unknown kind or form",
    "description_too_large": f"a description of more than {MAX_DESCRIPTION_BYTES:,} bytes",
    "description_pii": "a description that held personal data",
    "description_schema": "a description of the wrong shape",
    "bot": "sent by a program, not by a person",
    "too_late": "of a day that is past the retention, or before the start date",
    "in_future": "of a time in the future",
    "rate_limited": "more than 60 events a minute from one sender",
}
