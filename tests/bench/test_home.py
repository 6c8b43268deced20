"""A build's home: its own server and `serve`, which no variable of the caller reaches."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.against.builds import Build
from bench.against.gateway import Gateway
from bench.against.home import Home, open_home
from bench.traffic import lines_of
from bench.wire import ask_all

THIS = Build("this", "this tree", Path(__file__).parents[2], Path(sys.executable))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter, with a short path for its socket."""
    with tempfile.TemporaryDirectory(prefix="sig-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home that was opened where other variables of Signal and Python are set."""
    (folder / "elsewhere").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder / "elsewhere"))
    monkeypatch.setenv("SIGNAL_DATABASE_URL", "postgresql://nobody@203.0.113.1/elsewhere")
    with open_home(THIS, folder, Gateway(folder / "gateway").variables) as home:
        yield home
    assert not home.folder.exists()
    assert not home.server.is_running()


@pytest.mark.embedded_only
def test_a_home_is_filled_and_asked_by_itself(home: Home, folder: Path) -> None:
    lines = lines_of(folder, 500)
    assert home.ingest(lines) == lines.read_bytes().count(b"\n")
    stored = home.ask("select count(*) from signal.events")
    asyncio.run(ask_all(home.port, Gateway(folder / "gateway").events(50, "first"), 2))
    assert home.ask("select count(*) from signal.events") == stored + 50 > 400

    program = "import json, os, sys; print(json.dumps({'seen': [sys.path, dict(os.environ)]}))"
    assert "elsewhere" not in str(home.run_python(program).printed)

    # The work of PostgreSQL is not counted as that of `serve`, even if that started it.
    cost, served = home.cost(lambda: home.ask("select count(*) from generate_series(1, 3000000)"))
    assert cost.server > served

    with pytest.raises(RuntimeError, match="no such file"):
        home.run("ingest", str(folder / "missing.ndjson"))
