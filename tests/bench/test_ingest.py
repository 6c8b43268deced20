"""What the bench says of an ingest is about the events that it stored, as with every peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.stored import count

from bench.ingest import cost_of_stored
from bench.measure import Cost
from bench.server import Server
from bench.traffic import lines_of
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings


class OneSecond:
    """Stands for a server on which every work takes one second."""

    watch: OneSecond = property(lambda self: self)  # type: ignore[assignment]

    def checkpoint(self) -> None:
        """Nothing is measured."""

    def cost(self, work: Callable[[], Any]) -> Cost:
        work()
        return Cost(1.0, 0.5, 0.5)


@pytest.mark.embedded_only
def test_duplicates_and_drops_are_no_events(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    file = lines_of(tmp_path, 400)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines, *lines[:100], b"{}\n" * 100]))
    cost = cost_of_stored(cast("Server", OneSecond()), settings, file)
    stored = count(connection, "select count(*) from signal.events")
    assert 0 < stored <= len(lines)
    assert cost.wall == 1 / stored
