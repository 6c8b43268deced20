"""The API under fire: real servers get events over HTTP and are killed.

They are also killed while PostgreSQL is away and events are spooled. An event is acknowledged if
its answer has the status 200, no errors, and the outcome `accepted` or `spooled`. Whatever dies, an
acknowledged event is stored exactly once. An event that was not acknowledged is stored at most
once, and exactly once after a retry.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import date
from multiprocessing.process import BaseProcess
from random import Random

from faults import actions, oracle
from faults.wire import NO_ANSWER, Client, Gateway, free_port, of_one_person, wait_until_up
from faults.world import PATIENCE_SECONDS, StuckError, World
from signal_pipeline.ingest.spool_files import refused_files, unfinished_files, waiting_files
from signal_pipeline.postgres.embedded import running_url
from signal_pipeline.settings import load_settings

SENDERS = 3
LINES_PER_SENDER = 300  # In one life of a server.
PAUSE_SECONDS = 0.01
ACKNOWLEDGED = {("accepted", None), ("spooled", None)}


class ApiUnderFire:
    """Keeps one server after another under load, and remembers what it sent.

    For the present round, it knows which events were sent and which of them were acknowledged.
    """

    def __init__(self, world: World, day: date, random: Random) -> None:
        # Acknowledged events by outcome. `unknown` counts the other events that were sent.
        self.counts: Counter[str] = Counter()
        self.day = day
        self._world, self._random = world, random
        self._sent: dict[str, oracle.Line] = {}
        self._acknowledged: set[str] = set()
        self._spool = world.home / "spool"
        self._stop = threading.Event()
        self._senders: list[threading.Thread] = []
        self._lives = 0

    def start(
        self, *, revives: bool = True, lines_per_sender: int = LINES_PER_SENDER
    ) -> BaseProcess:
        """Start a server under load.

        The server restarts an embedded PostgreSQL that is gone, unless `revives` is false.
        """
        port, process = self._serve(revives)
        self._stop.clear()
        self._lives += 1
        for number in range(SENDERS):
            lines = oracle.lines_of(self.day, oracle.OF_API, lines_per_sender, self._random)
            name = f"{self._lives}-{number}"
            # A daemon thread does not keep the program alive when a fault is found meanwhile.
            sender = threading.Thread(target=self._send, args=(port, name, lines), daemon=True)
            self._senders.append(sender)
            sender.start()
        return process

    def stop_sending(self) -> None:
        """End the load. The caller has killed the server, or stops it afterwards."""
        self._stop.set()
        for sender in self._senders:
            sender.join()
        self._senders.clear()

    def until_answered(self, process: BaseProcess) -> None:
        """Wait until the server has acknowledged something, or has ended. Raises StuckError."""
        known = len(self._acknowledged)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while len(self._acknowledged) == known and process.is_alive():
            if time.monotonic() > give_up:
                raise StuckError("the API acknowledges nothing")
            time.sleep(0.02)

    def until_drained(self) -> None:
        """Wait until the spool is empty. Raises StuckError."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while waiting_files(self._spool):
            if time.monotonic() > give_up:
                raise StuckError("the spool is not drained")
            time.sleep(0.1)

    def settle(self, state: oracle.Day) -> list[str]:
        """Serve undisturbed, and return what is wrong.

        The server drains the spool, and every acknowledged event must be stored. Half of the events
        that were not acknowledged are sent again. All events that must then be stored are added to
        the oracle's day.
        """
        port, process = self._serve(revives=True)
        if not wait_until_up(port, PATIENCE_SECONDS):
            raise StuckError("the API does not start")
        self.until_drained()
        stored = self._stored()
        lost = [key for key in self._acknowledged if not stored[key]]
        found = [f"{len(lost)} event(s) that the API acknowledged are lost"] if lost else []
        if twice := [key for key, events in stored.items() if events > 1]:
            found.append(f"{len(twice)} event(s) of the API are stored twice")
        unknown = sorted(self._sent.keys() - self._acknowledged)
        self.counts["unknown"] += len(unknown)
        retried = unknown[::2]
        found += self._retry(port, [self._sent[key] for key in retried])
        process.terminate()
        process.join(PATIENCE_SECONDS)
        if process.exitcode != 0:
            process.kill()
            found.append(f"the API ended with {process.exitcode} when it was told to stop")
        if refused := refused_files(self._spool):
            found.append(f"{len(refused)} file(s) of the spool were refused")
        if drafts := unfinished_files(self._spool):
            found.append(f"{len(drafts)} torn file(s) are left in the spool")
        kept = {*self._acknowledged, *retried, *(stored.keys() & self._sent.keys())}
        state.add(self._sent[key] for key in kept)
        self._sent.clear()
        self._acknowledged.clear()
        return found

    def _serve(self, revives: bool) -> tuple[int, BaseProcess]:
        port = free_port()
        url = None if revives else running_url(self._world.home)
        return port, self._world.start(actions.serve, port, self._spool, url)

    def _send(self, port: int, name: str, lines: list[oracle.Line]) -> None:
        sizes = itertools.cycle((1, 1, 5, 1))
        with closing(Client(port, Gateway(load_settings(), name))) as client:
            for request in of_one_person(lines, sizes):
                while not self._stop.is_set():
                    try:
                        client.connect()
                        break
                    except NO_ANSWER:  # The server is not up yet, or dead: nothing was sent.
                        time.sleep(0.02)
                if self._stop.is_set():
                    return
                self._ask(client, request)
                time.sleep(PAUSE_SECONDS)

    def _ask(self, client: Client, request: list[oracle.Line]) -> None:
        self._sent |= {line["clientEventId"]: line for line in request}
        try:
            answer = client.send(request)
        except NO_ANSWER:
            return
        if not answer.refused:
            for line, outcome in zip(request, answer.outcomes, strict=True):
                if outcome in ACKNOWLEDGED:
                    self._acknowledged.add(line["clientEventId"])
                    self.counts[outcome[0]] += 1

    def _stored(self) -> Counter[str]:
        with self._world.connect() as connection:
            rows = connection.execute(
                "select client_event_id::text, count(*) from signal.events where app_name = %s"
                " group by 1",
                [oracle.OF_API],
            ).fetchall()
        return Counter({str(key): int(str(events)) for key, events in rows})

    def _retry(self, port: int, lines: list[oracle.Line]) -> list[str]:
        wrong = 0
        with closing(Client(port, Gateway(load_settings(), "retry"))) as client:
            for line in lines:
                answer = client.send([line])
                wrong += answer.refused or answer.outcomes[0][0] not in ("accepted", "duplicate")
        return [f"{wrong} retried event(s) were refused"] if wrong else []


def outage(api: ApiUnderFire, world: World, random: Random) -> Counter[str]:
    """Take PostgreSQL away under a server that cannot start it; return the kills.

    Events go to the spool. Then the server dies, and later servers die while they drain the spool.
    """
    kills: Counter[str] = Counter()
    process = api.start(revives=False)
    api.until_answered(process)
    how = random.choice((signal.SIGQUIT, signal.SIGKILL))
    if world.stop_postgres(how):
        kills[f"postgres {how.name}"] += 1
    _kill_after(process, random.uniform(0.2, 1.5), kills)
    api.stop_sending()
    for _ in range(random.randrange(1, 3)):
        world.connect().close()
        process = api.start(revives=False)
        _kill_after(process, random.uniform(0.2, 1.5), kills)
        api.stop_sending()
    return kills


def _kill_after(process: BaseProcess, seconds: float, kills: Counter[str]) -> None:
    process.join(seconds)
    if process.is_alive():
        process.kill()
        kills["api"] += 1
    process.join()
