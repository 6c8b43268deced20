"""What people have been told, and what still waits to be sent: the cursor of `alerts_sensor`. No
Dagster, no network.

It stands in Dagster's storage, so it holds names, counts and times, and never an address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from signal_pipeline.dagster.notifications import Message

MAX_FAILURES = (
    20  # Ticks in a row in which an address took nothing; then what waits for it is given up.
)


class Queue(msgspec.Struct):
    """What one address has yet to take, oldest first, and in how many ticks in a row it took
    nothing.
    """

    failures: int = 0
    messages: list[Message] = []


class AlertState(msgspec.Struct):
    """What people know. Times are seconds since 1970.

    `seen_until`: failed runs that ended before are known. `seen`: those that ended shortly before
    that, or after. `retrying`: those that Dagster wants to try again, with the time they were first
    seen. `told`: for each job with its days when its last failure was told. `red`: the checks that
    people know as red. `queues`: by the place of the address.
    """

    seen_until: float
    seen: dict[str, float] = {}
    retrying: dict[str, float] = {}
    told: dict[str, float] = {}
    red: list[str] = []
    queues: dict[str, Queue] = {}


class Sender(Protocol):
    """Where a message can be sent."""

    name: str

    def send(self, message: Message) -> bool:
        """Whether it was taken."""


def read_state(cursor: str | None, first_look: float) -> AlertState:
    """The state of the last tick; at the first one, or after one of another version, runs since
    `first_look` are news.
    """
    try:
        return msgspec.json.decode(cursor or "", type=AlertState)
    except msgspec.DecodeError:
        return AlertState(seen_until=first_look)


def write_state(state: AlertState) -> str:
    """The cursor to keep."""
    return msgspec.json.encode(state).decode()


def deliver(
    state: AlertState,
    senders: Sequence[Sender],
    news: Sequence[Message],
    warn: Callable[[str], object],
    go_on: Callable[[], bool],
) -> tuple[int, int]:
    """Queue the news and send what waits, while `go_on`; returns how many messages were taken and
    how many wait.

    An address that takes nothing is left alone until the next call, and does not hold up the
    others.
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
                f"{sender.name} of SIGNAL_ALERT_URLS takes no message: tried again"
                f" {MAX_FAILURES - 1} times"
            )
        if queue.failures >= MAX_FAILURES:
            warn(
                f"{sender.name} of SIGNAL_ALERT_URLS takes no message: {len(queue.messages)}"
                " given up"
            )
            queue.messages, queue.failures = [], 0
        break
    return taken
