"""What people have been told, and what still waits to be sent. No Dagster, no network.

This is the cursor of `alerts_sensor`, which Dagster's storage keeps. The cursor therefore holds
names, days, ids, counts and times, and never one of the addresses that alerts are sent to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from signal_pipeline.dagster.notifications import Message

# If an address takes nothing in this many ticks in a row, the messages that wait for it are given
# up.
MAX_FAILURES = 20
FIRST_LOOK_SECONDS = 3600  # A run that failed within this time before the first tick is news.


class Queue(msgspec.Struct):
    """The messages that one address has yet to take, oldest first.

    `failures` counts the ticks in a row in which it took nothing.
    """

    failures: int = 0
    messages: list[Message] = []


class Failure(msgspec.Struct):
    """A failure of a run: when a tick looked at it, and the number of its event."""

    at: float
    event: int


class AlertState(msgspec.Struct):
    """What people know. Times are seconds since 1970, by the clock of the sensor.

    An event's number is the one that Dagster's storage gave it when it stored the event. It
    depends on no clock.

    Attributes:
        looked_at: when the last tick looked.
        first_event: the number of the newest failure that was stored before the first tick; a tick
            looks at this failure and older ones only if `look_since` is set.
        last_event: the last failure that a tick has seen; None before the first tick.
        look_since: if set, the next tick also looks at all failures since this time, by the clocks
            of the machines that ran the runs.
        known: the failed runs that were seen last, with the events of their failures.
        waiting: the failed runs that Dagster can still retry, each with its failure as a tick first
            saw it.
        told_of: for each pair of a job and the days that it failed for, or the date of the failure
            if it has no days, the last failure that people were told of.
        red: the checks that people know to be red.
        queues: the queue of each address, by its place in the list.
    """

    looked_at: float = 0
    first_event: int = 0
    last_event: int | None = None
    look_since: float | None = None
    known: dict[str, int] = {}
    waiting: dict[str, Failure] = {}
    told_of: dict[str, Failure] = {}
    red: list[str] = []
    queues: dict[str, Queue] = {}


class Sender(Protocol):
    """A place where a message can be sent."""

    name: str

    def send(self, message: Message) -> bool:
        """Send a message; return whether it was taken."""


def read_state(cursor: str | None) -> AlertState:
    """Return the state that the last tick left, or a new one if that state cannot be read.

    From a state that an older version left, at least what is red and what waits to be sent is kept.
    """
    try:
        return msgspec.json.decode(cursor or "", type=AlertState)
    except msgspec.DecodeError:
        return AlertState()


def mend_times(state: AlertState, now: float) -> None:
    """Make the state's times right if the sensor's clock was ahead.

    Nobody knows since when the clock was wrong. If it was ahead at the first tick already, that
    tick took new failures for old ones. So the next look also finds failures by their times, as a
    first look does: people may be told of a run twice, but are told of each run at least once. The
    numbers that the storage gave to events are right whatever the clock said.
    """
    if state.looked_at > now:
        state.look_since = now - FIRST_LOOK_SECONDS
    state.looked_at = now
    state.told_of = {what: told for what, told in state.told_of.items() if told.at <= now}
    for each in state.waiting.values():
        each.at = min(each.at, now)


def write_state(state: AlertState) -> str:
    """Return the cursor to keep."""
    return msgspec.json.encode(state).decode()


def deliver(
    state: AlertState,
    senders: Sequence[Sender],
    news: Sequence[Message],
    warn: Callable[[str], object],
    go_on: Callable[[], bool],
) -> tuple[int, int]:
    """Queue the news and send what waits, for as long as `go_on` says so.

    Returns how many messages were taken and how many wait. An address that takes nothing is left
    alone until the next call, and does not hold up the others.
    """
    state.queues = {str(n): state.queues.get(str(n), Queue()) for n in range(len(senders))}
    taken = 0
    for queue, sender in zip(state.queues.values(), senders, strict=True):
        queue.messages.extend(news)
        taken += _send(queue, sender, warn, go_on)
    return taken, sum(len(queue.messages) for queue in state.queues.values())


def _send(
    queue: Queue, sender: Sender, warn: Callable[[str], object], go_on: Callable[[], bool]
) -> int:
    taken = 0
    while queue.messages and go_on():
        if sender.send(queue.messages[0]):
            del queue.messages[0]
            queue.failures = 0
            taken += 1
            continue
        queue.failures += 1
        if queue.failures == 1:
            warn(
                f"{sender.name} of SIGNAL_ALERT_URLS takes no message: it will be tried up to"
                f" {MAX_FAILURES - 1} more times"
            )
        if queue.failures >= MAX_FAILURES:
            warn(
                f"{sender.name} of SIGNAL_ALERT_URLS takes no message: {len(queue.messages)}"
                " given up"
            )
            queue.messages, queue.failures = [], 0
        break
    return taken
