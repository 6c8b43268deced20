"""Limits on how many connections a server holds, and on how long it waits for each client.

The limits leave enough of the process's file limit for PostgreSQL and for files. A client that
keeps the server waiting is disconnected after a time that depends on what the server waits for.
When a limit is reached, the connection that would time out first makes room for the new one. Silent
connections therefore never shut out a client that speaks.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol

import psutil

from signal_pipeline.api.identity.forwarded import is_trusted
from signal_pipeline.api.requests import BODY_SECONDS
from signal_pipeline.settings import Network, Settings, SettingsError

logger = logging.getLogger(__name__)

DEFAULT_CONNECTIONS = 1_000
MIN_CONNECTIONS = 16
# For PostgreSQL, Redis, the spool, the event loop, and modules that are imported late.
RESERVED_FILES = 64
MAX_BACKLOG = 2_048
HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 5.0
READ_SECONDS = 20.0
CLOSE_SECONDS = 5.0
SWEEP_SECONDS = 1.0
LOG_SECONDS = 60.0
REFUSED = "refused because every connection was busy"
EVICTED = "made room for a new connection"


class Connection(Protocol):
    """A client's connection, as this module sees it."""

    wait: Wait | None

    def drop(self) -> None:
        """Close the connection, even if data waits to be sent."""


@dataclass(eq=False, slots=True)
class Wait:
    """A reason to wait for a client, for at most `seconds`.

    `complaint` says in the log what a dropped client did. Every connection with the same reason
    gets the same time, so the first of `deadlines` is the first to expire.
    """

    seconds: float
    complaint: str
    deadlines: dict[Connection, float] = field(default_factory=dict)


class Waits:
    """The reasons for which one process waits."""

    def __init__(self) -> None:
        self.head = Wait(HEAD_SECONDS, "sent no complete headers in time")
        # Two seconds longer than the application waits, so that its answer (408) comes first.
        self.body = Wait(BODY_SECONDS + 2, "sent no complete body in time")
        self.idle = Wait(KEEP_ALIVE_SECONDS, "")  # Idling is no fault, so it is not counted.
        self.read = Wait(READ_SECONDS, "did not read their answers")
        self.close = Wait(CLOSE_SECONDS, "did not read why they were refused")
        self.all = (self.head, self.body, self.idle, self.read, self.close)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most connections in total and per peer, and the most that may wait to be accepted."""

    total: int = DEFAULT_CONNECTIONS
    per_peer: int = DEFAULT_CONNECTIONS // 2
    backlog: int = MAX_BACKLOG

    def of_each(self, workers: int) -> Limits:
        """Return the share of each of `workers` processes in these limits.

        Each process has a queue and a file limit of its own, so the backlog is not divided.
        """
        return Limits(self.total // workers, self.per_peer // workers, self.backlog)


def connection_limits(settings: Settings) -> Limits:
    """Return the limits that the settings ask for, within the file limit of this process.

    Raises SettingsError if the file limit leaves too little room.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        room, backlog = 1 << 30, MAX_BACKLOG
    else:
        # If the whole queue is accepted at once, its connections need files as well, until older
        # connections have made room.
        free = files - psutil.Process().num_fds() - RESERVED_FILES
        backlog = min(MAX_BACKLOG, max(free // 4, 1))
        room = free - backlog
    configured = settings.max_connections
    if room < max(configured or 0, MIN_CONNECTIONS):
        raise SettingsError(
            f"the file limit (ulimit -n) of {files} leaves room for {max(room, 0)} connections:"
            " raise it" + (", or allow fewer with SIGNAL_MAX_CONNECTIONS" if configured else "")
        )
    total = configured or min(DEFAULT_CONNECTIONS, room)
    return Limits(total, settings.max_connections_per_peer or max(total // 2, 1), backlog)


class Connections:
    """The open connections of one process, used only in its event loop.

    `trusted` are the proxies. Many people's connections come through one proxy, so only the overall
    limit applies to it. A peer's address is kept as long as the peer has a connection; the open
    socket holds the address just as long.
    """

    def __init__(self, limits: Limits, trusted: Sequence[Network] = ()) -> None:
        self.waits = Waits()
        self._limits = limits
        self._trusted = trusted
        self._loop = asyncio.get_running_loop()
        self._peers: dict[Connection, str | None] = {}
        self._by_peer: dict[str, dict[Connection, None]] = {}  # In the order of arrival.
        self._dropped: Counter[str] = Counter()
        self._next_log_at = float("-inf")
        self._sweeper: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection, peer: str | None) -> bool:
        """Take a new connection, if necessary in place of one that keeps the server waiting.

        Return False if a limit is reached and every connection under it is busy.
        """
        key = self._peer_key(peer)
        siblings = self._by_peer.get(key, {}) if key is not None else {}
        if len(siblings) >= self._limits.per_peer:
            waiting = (other for other in siblings if other.wait is not None)
            if not self._evict_or_count_refusal(min(waiting, key=_deadline, default=None)):
                return False
        if len(self._peers) >= self._limits.total:
            oldest = (next(iter(wait.deadlines)) for wait in self.waits.all if wait.deadlines)
            if not self._evict_or_count_refusal(min(oldest, key=_deadline, default=None)):
                return False
        self._peers[connection] = key
        if key is not None:
            self._by_peer.setdefault(key, {})[connection] = None
        self.enter(connection, self.waits.head)
        self._start_sweeping()
        return True

    def enter(self, connection: Connection, wait: Wait | None) -> None:
        """Record what the server now waits for; None means that the client waits for the server."""
        if connection.wait is not None:
            del connection.wait.deadlines[connection]
        connection.wait = wait
        if wait is not None:
            wait.deadlines[connection] = self._loop.time() + wait.seconds

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed or about to be."""
        self.enter(connection, None)
        key = self._peers.pop(connection, None)
        if key is not None:
            del self._by_peer[key][connection]
            if not self._by_peer[key]:
                del self._by_peer[key]

    def count(self, complaint: str) -> None:
        """Count a connection that the server closes or refuses, under the reason `complaint`.

        The sums go to the log at most once a minute.
        """
        self._dropped[complaint] += 1
        self._start_sweeping()

    def _evict_or_count_refusal(self, connection: Connection | None) -> bool:
        """Drop a connection to make room. If there is none, count a refusal and return False."""
        if connection is None:
            self.count(REFUSED)
            return False
        self._drop(connection, EVICTED)
        return True

    def _drop(self, connection: Connection, complaint: str) -> None:
        if complaint:
            self.count(complaint)
        self.remove(connection)
        connection.drop()

    def _start_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Drop connections whose time is over, and plan the next sweep if one is needed."""
        now = self._loop.time()
        for wait in self.waits.all:
            while wait.deadlines and _deadline(first := next(iter(wait.deadlines))) <= now:
                self._drop(first, wait.complaint)
        if now >= self._next_log_at:
            self._log()
        self._sweeper = None
        if self._peers or self._dropped:
            self._start_sweeping()

    def _log(self) -> None:
        """Log what was counted since the last entry."""
        if self._dropped:
            logger.warning(
                "connections closed: %s",
                ", ".join(f"{n} {what}" for what, n in self._dropped.items()),
            )
            self._dropped.clear()
            self._next_log_at = self._loop.time() + LOG_SECONDS

    def _peer_key(self, peer: str | None) -> str | None:
        """Return what the limit per peer counts by: an IPv4 address, or an IPv6 /64 network.

        Return None for a peer without a limit of its own: a trusted proxy, or an unknown address.
        """
        if peer is None or is_trusted(peer, self._trusted):
            return None
        address = ip_address(peer.partition("%")[0])
        if not isinstance(address, IPv6Address):
            return peer
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))


class SharedConnections:
    """The one `Connections` that all connections of a process share, made at the first call.

    A `Connections` needs the running event loop. A `SharedConnections` does not, so it can be sent
    to the process that has the loop.
    """

    def __init__(self, limits: Limits, trusted: Sequence[Network]) -> None:
        self._limits = limits
        self._trusted = trusted
        self._made: Connections | None = None

    def __call__(self) -> Connections:
        """Return the `Connections`, made if necessary."""
        if self._made is None:
            self._made = Connections(self._limits, self._trusted)
        return self._made


def _deadline(connection: Connection) -> float:
    assert connection.wait is not None
    return connection.wait.deadlines[connection]
