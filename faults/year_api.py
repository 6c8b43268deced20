"""The API of the long year; on the way, the next release of Signal replaces it."""

from __future__ import annotations

import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from faults import actions, oracle
from faults.wire import NO_ANSWER, Client, free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, FaultFoundError, World
from signal_pipeline.events import bots, user_agents


def with_newer_bots() -> None:
    """Use the list of crawlers of the next release."""
    known = bots.is_bot
    setattr(user_agents, "is_bot", lambda text: "ExampleAuditor" in text or known(text))  # noqa: B010
    user_agents.clear_cache()


def serve(port: int, spool: Path, newer_bots: bool) -> None:
    """Serve the API, of this release or of the next."""
    if newer_bots:
        with_newer_bots()
    actions.serve(port, spool, None)


class YearApi:
    """A process that serves the API on a port of its own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._process: BaseProcess | None = None
        self.port = 0

    def restart(self, newer_bots: bool) -> None:
        """Stop the API and start it again. Raises FaultFoundError."""
        self.stop()
        self.port = free_port()
        self._process = self._world.start(serve, self.port, self._world.home / "spool", newer_bots)
        if not wait_until_up(self.port, PATIENCE_SECONDS):
            raise FaultFoundError(f"the API does not start: see {self._errors}")

    def stop(self) -> None:
        """Stop the API if it runs. Raises FaultFoundError if it does not end as it should."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(PATIENCE_SECONDS)
            if self._process.exitcode != 0:
                raise FaultFoundError(
                    f"the API ended with {self._process.exitcode}: see {self._errors}"
                )
            self._process = None

    def kill(self) -> None:
        """Kill the API if it runs."""
        if self._process is not None:
            self._process.kill()

    @property
    def _errors(self) -> Path:
        return self._world.home / actions.ERRORS


def send(client: Client, lines: list[oracle.Line]) -> None:
    """Send events until the API answers. Raises FaultFoundError if it does not take them all."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(*NO_ANSWER):
            answer = client.send(lines)
            if not answer.refused and {outcome for outcome, _ in answer.outcomes} <= {
                "accepted",
                "duplicate",
            }:
                return
            raise FaultFoundError(f"the API answered {answer.status} {answer.body}")
        if time.monotonic() > give_up:
            raise FaultFoundError("the API does not answer")
