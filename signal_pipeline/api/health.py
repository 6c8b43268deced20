"""The answers for whoever watches the process: `GET /healthz` and `GET /readyz`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from signal_pipeline.postgres.database import Database, DatabaseError

READY_SECONDS = 5.0


async def healthz(_: Request) -> Response:
    """Answer that the process is alive."""
    return PlainTextResponse("ok")


class Readiness:
    """Finds out whether the database responds.

    It has a thread of its own, so that slow reads do not make the process look unready. Requests
    that come while the database is being asked share its answer. Anyone may send such requests, and
    a flood of them would occupy the server if each one asked the database again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look: asyncio.Future[bool] | None = None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="signal-ready")

    async def readyz(self, _: Request) -> Response:
        """Answer whether the database responds."""
        look = self._look
        if look is None or look.done():
            loop = asyncio.get_running_loop()
            look = self._look = loop.run_in_executor(self.thread, self._responds)
        # A timeout does not cancel the look, because others can wait for it too.
        await asyncio.wait([look], timeout=READY_SECONDS)
        if look.done() and look.result():
            return PlainTextResponse("ok")
        return PlainTextResponse("the database does not answer", 503)

    def _responds(self) -> bool:
        try:
            with self._database.connect() as connection:
                connection.execute("select 1")
        except DatabaseError:
            return False
        return True
