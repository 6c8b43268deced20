"""Connections that stay open from one use to the next, for a process that asks often."""

from __future__ import annotations

import select
from collections import deque
from types import TracebackType

import psycopg
from psycopg.pq import TransactionStatus

from signal_pipeline.postgres.database import Connection, Database, SafeConnection


class KeptConnections(Database):
    """A database whose connections stay open after their `with` block, for the next one.

    A new connection costs PostgreSQL a process with empty caches, which takes longer than most
    answers. As many connections stay open as were ever used at once. Threads can share an instance.
    """

    def __init__(self, url: str, statement_seconds: float = 0) -> None:
        super().__init__(url, statement_seconds)
        self._idle: deque[_KeptConnection] = deque()

    def connect(self) -> Connection:
        """Return an open connection, or open one.

        It must be used as a context manager. A connection on which PostgreSQL refused a statement
        closes at the end. Raises DatabaseUnreachableError.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # Another thread was quicker.
                break
            if connection.is_silent:
                return connection
            connection.close()
        opened = self._open(_KeptConnection)
        opened.idle = self._idle
        # No statement is prepared, because its plan would be made without the dates that are asked
        # for: joins of days took four times as long, and a count of raw events could read far too
        # much.
        opened.prepare_threshold = None
        return opened

    def close(self) -> None:
        """Close all connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()


class _KeptConnection(SafeConnection):
    idle: deque[_KeptConnection]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_idle = self.info.transaction_status == TransactionStatus.IDLE
        if is_idle and not isinstance(error, psycopg.Error):
            self.idle.append(self)
        else:
            super().__exit__(kind, error, traceback)

    @property
    def is_silent(self) -> bool:
        """False if the server said something unasked, such as that it ends the connection."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)
