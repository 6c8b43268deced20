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

    It has a thread of its own, so that slow reads do not make the process look unready.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="signal-ready")

    async def readyz(self, _: Request) -> Response:
        """Answer whether the database responds."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(
                loop.run_in_executor(self.thread, self._ask_database), READY_SECONDS
            )
        except (DatabaseError, TimeoutError):
            return PlainTextResponse("the database does not answer", 503)
        return PlainTextResponse("ok")

    def _ask_database(self) -> None:
        with self._database.connect() as connection:
            connection.execute("select 1")
