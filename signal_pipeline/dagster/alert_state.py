"""What people have been told, and what still waits to be sent. No Dagster, no network.

This is the cursor of `alerts_sensor`, which is kept in Dagster's storage. So it holds names, counts
and times, and never an address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from signal_pipeline.dagster.notifications import Message

# If an address takes nothing in this many ticks in a row, the messages that wait for it are given
# up.
MAX_FAILURES = 20


class Queue(msgspec.Struct):
    """The messages that one address has yet to take, oldest first.

    `failures` counts the ticks in a row in which it took nothing.
    """

    failures: int = 0
    messages: list[Message] = []


class AlertState(msgspec.Struct):
    """What people know. Times are seconds since 1970.

    Attributes:
        seen_until: all failed runs that ended before this time are known; never after now.
        seen: the known runs that ended shortly before `seen_until` or later, with their ends.
        retrying: the runs that Dagster can still retry, with the time at which each was first seen.
        told: for each job and the days of its failed run, the end of the last such failure that
            people were told of.
        red: the checks that people know to be red.
        queues: the queue of each address, by its place in the list.
    """

    seen_until: float
    seen: dict[str, float] = {}
    retrying: dict[str, float] = {}
    told: dict[str, float] = {}
    red: list[str] = []
    queues: dict[str, Queue] = {}


class Sender(Protocol):
    """A place where a message can be sent."""

    name: str

    def send(self, message: Message) -> bool:
        """Send a message; return whether it was taken."""


def read_state(cursor: str | None, first_look: float) -> AlertState:
    """Return the state that the last tick left.

    If there is no cursor yet, or another version of Signal wrote one that this version cannot read,
    runs that failed since `first_look` (seconds since 1970) are news.
    """
    try:
        return msgspec.json.decode(cursor or "", type=AlertState)
    except msgspec.DecodeError:
        return AlertState(seen_until=first_look)


def mend_times(state: AlertState, now: float, longest_look: float) -> None:
    """Make the state's times right if a clock was ahead, or if nobody has looked for long.

    If `seen_until` is after now, the clock has gone back, and nobody knows since when it was wrong.
    So runs that failed in the last `longest_look` seconds are looked at again: people may be told
    of one twice, but of each at least once. Known runs stay known, even if they end after now.
    """
    earliest = now - longest_look
    state.seen_until = max(state.seen_until, earliest) if state.seen_until <= now else earliest
    state.told = {what: at for what, at in state.told.items() if at <= now}
    state.retrying = {run_id: min(since, now) for run_id, since in state.retrying.items()}


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
