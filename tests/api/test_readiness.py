"""`GET /readyz` needs no login, so it must cost the same however many clients ask."""

from __future__ import annotations

import asyncio
import threading

from starlette.requests import Request
from support.waits import PATIENCE_SECONDS

from signal_pipeline.api.health import Readiness
from signal_pipeline.postgres.database import Connection, Database, DatabaseUnreachableError


class SlowDatabase(Database):
    """A database that answers once it may, and counts how often it is asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = 0
        self.is_away = False
        self.may_answer = threading.Event()

    def connect(self) -> Connection:
        self.asked += 1
        assert self.may_answer.wait(PATIENCE_SECONDS)
        if self.is_away:
            raise DatabaseUnreachableError("away")
        return super().connect()


async def _ask(readiness: Readiness, clients: int) -> list[asyncio.Task[int]]:
    """Let so many clients ask, and return when all of them wait for their answer."""

    async def ask() -> int:
        return (await readiness.readyz(Request({"type": "http"}))).status_code

    tasks = [asyncio.create_task(ask()) for _ in range(clients)]
    await asyncio.sleep(0)  # Each has now run until it waits.
    return tasks


def test_all_who_wait_share_one_look_at_the_database(api_database: Database) -> None:
    database = SlowDatabase(api_database.url)
    readiness = Readiness(database)

    async def ask_at_once() -> list[int]:
        waiting = await _ask(readiness, 20)
        waiting += await _ask(readiness, 20)
        database.may_answer.set()
        return await asyncio.gather(*waiting)

    with readiness.thread:
        assert asyncio.run(ask_at_once()) == [200] * 40
    assert database.asked == 1


def test_an_answer_is_not_remembered(api_database: Database) -> None:
    database = SlowDatabase(api_database.url)
    database.may_answer.set()
    readiness = Readiness(database)

    async def ask_in_turn() -> list[int]:
        answers = []
        for database.is_away in (False, True, False):
            answers += await asyncio.gather(*await _ask(readiness, 1))
        return answers

    with readiness.thread:
        assert asyncio.run(ask_in_turn()) == [200, 503, 200]
    assert database.asked == 3
