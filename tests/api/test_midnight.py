"""What a server forgets when the day ends (requirement 2.8)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Message
from support.traffic import line

from signal_pipeline.api.app import create_app
from signal_pipeline.api.graphql.context import Services
from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.events import user_agents
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.settings import Settings

PATIENCE_SECONDS = 90  # Longer than a step of the server's timer, should it start after midnight.


async def _live(app: ASGIApp, until: Callable[[], object]) -> None:
    """Start the application, leave it idle until the answer is yes, and stop it."""
    left = ["lifespan.shutdown", "lifespan.startup"]

    async def receive() -> Message:
        if left == ["lifespan.shutdown"]:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not until():
                    await asyncio.sleep(0.05)
        return {"type": left.pop()}

    async def send(message: Message) -> None:
        assert message["type"].endswith(".complete"), message

    await app({"type": "lifespan"}, receive, send)


async def _end_abruptly(app: ASGIApp) -> set[asyncio.Task[object]]:
    """Start the application and cancel it; return the tasks that then go on."""
    started = asyncio.Event()

    async def receive() -> Message:
        if started.is_set():
            await asyncio.Event().wait()
        return {"type": "lifespan.startup"}

    async def send(_: Message) -> None:
        started.set()

    life = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
    await started.wait()
    assert gc.get_freeze_count() > 0
    life.cancel()
    await asyncio.wait([life])
    assert life.cancelled()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in others if task and not task.cancelling()}


@pytest.mark.embedded_only
def test_a_server_that_is_cancelled_leaves_nothing_behind(
    settings: Settings, database: Database
) -> None:
    unused: Any = None
    with closing(Ingest.from_settings(settings, database)) as ingest:
        services = Services(
            ingest, GroupCommit(ingest), unused, database, {}, unused, ThreadPoolExecutor(1), unused
        )
        assert asyncio.run(_end_abruptly(create_app(settings, unused, services))) == set()
    assert gc.get_freeze_count() == 0


@pytest.mark.embedded_only
def test_an_idle_server_forgets_user_agents_at_midnight(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime.now(UTC)
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    shift = midnight - start - timedelta(minutes=10)
    forgotten: list[datetime] = []

    def clock() -> datetime:
        return datetime.now(UTC) + shift

    unused: Any = None  # Only requests ask for it, and none is made.
    with closing(Ingest.from_settings(settings, database, clock)) as ingest:
        assert ingest.ingest_lines([line(clock())]).accepted == 1
        monkeypatch.setattr(user_agents, "clear_cache", lambda: forgotten.append(clock()))
        services = Services(
            ingest, GroupCommit(ingest), unused, database, {}, unused, ThreadPoolExecutor(1), unused
        )
        app = create_app(settings, unused, services)
        shift += midnight - clock() - timedelta(seconds=2)
        asyncio.run(_live(app, lambda: forgotten))
    assert len(forgotten) == 1
    assert forgotten[0] >= midnight
