"""The spools of `serve --workers N`: each event is stored once, whichever worker spooled it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.waits import until
from support.wire import CREATE, Server, StartServer, counts, event, outcome, run
from support.workers import (
    TWO,
    apart,
    workers,
)

from signal_pipeline.postgres.database import Database

pytestmark = pytest.mark.embedded_only


def spooled(folder: Path) -> list[Path]:
    """The files that wait in the folders of all workers."""
    return list(folder.rglob("*.spool"))


def fill_both_spools(server: Server, folder: Path) -> list[dict[str, object]]:
    """Send events until each worker has spooled some."""
    sent = list[dict[str, object]]()
    while {path.parent for path in spooled(folder)} != {folder, folder / "worker-2"}:
        sent.append(event())
        answer = apart(server, CREATE, {"input": sent[-1]}, uid=f"user-{len(sent)}")
        assert outcome(answer) == ("spooled", None)  # type: ignore[arg-type]
    return sent


def test_spools_are_drained_exactly_once(
    start: StartServer, outage: Callable[[], object], api_database: Database, tmp_path: Path
) -> None:
    """Also the one of a worker that was killed while PostgreSQL was away."""
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    before = counts(api_database)
    with outage():  # type: ignore[attr-defined]
        sent = fill_both_spools(server, tmp_path)
        workers(server)[0].kill()
        until(lambda: any("is tried again: cannot reach PostgreSQL" in line for line in server.log))
        sent.append(event())  # The other still takes events.
        answer = apart(server, CREATE, {"input": sent[-1]}, uid="late")
        assert outcome(answer) == ("spooled", None)  # type: ignore[arg-type]
    until(lambda: not spooled(tmp_path))
    assert counts(api_database) == (before[0] + len(sent), before[1] + len(sent))
    for fields in sent:
        answer = apart(server, CREATE, {"input": fields}, uid="again")
        assert outcome(answer)[0] in ("duplicate", "dropped")  # type: ignore[arg-type]
    assert counts(api_database)[0] == before[0] + len(sent)
    assert server.stop() == 0


@pytest.mark.parametrize("fewer", [(), ("--workers", "2")])
def test_fewer_workers_store_what_more_have_left(
    start: StartServer,
    outage: Callable[[], object],
    api_database: Database,
    tmp_path: Path,
    fewer: tuple[str, ...],
) -> None:
    server = start(*TWO, SIGNAL_SPOOL_DIR=str(tmp_path))
    before = counts(api_database)
    with outage():  # type: ignore[attr-defined]
        sent = fill_both_spools(server, tmp_path)
        assert server.stop() == 0
    if fewer:  # As after four workers.
        (tmp_path / "worker-2").rename(tmp_path / "worker-4")
    again = start(*fewer, SIGNAL_SPOOL_DIR=str(tmp_path))
    until(lambda: not spooled(tmp_path))
    assert counts(api_database) == (before[0] + len(sent), before[1] + len(sent))
    assert again.stop() == 0


def test_two_servers_cannot_share_a_spool(both: Server, api_environment: dict[str, str]) -> None:
    folder = psutil.Process(both.process.pid).environ()["SIGNAL_SPOOL_DIR"]
    for more in ((), TWO):
        done = run({**api_environment, "SIGNAL_SPOOL_DIR": folder}, "serve", "--port", "0", *more)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "SIGNAL_SPOOL_DIR is in use" in done.stderr
