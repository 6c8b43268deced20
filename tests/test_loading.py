"""What is loaded for good is out of the garbage collector's sight, and nothing else is."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import environment_with

from signal_pipeline.system.loading import loaded_for_good


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    """Leave nothing of these tests to the next."""
    yield
    gc.enable()
    gc.unfreeze()


def test_the_collector_is_off_only_while_something_loads() -> None:
    with loaded_for_good():
        with loaded_for_good():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_is_on_again_after_an_error() -> None:
    with pytest.raises(ImportError), loaded_for_good():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with loaded_for_good():
        pass
    assert not gc.isenabled()


def test_only_what_was_loaded_is_skipped_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "duckdb", raising=False)
    with loaded_for_good():
        loaded = ["while loading"]
    later = ["later"]
    seen = {id(thing) for thing in gc.get_objects()}
    assert id(loaded) not in seen
    assert id(later) in seen


DEFINITIONS = "from signal_pipeline.definitions import defs; defs()"
DUCKDB = "import duckdb; duckdb.connect().execute('SELECT 1')"


@pytest.mark.parametrize("parts", [(DEFINITIONS, DUCKDB), (DUCKDB, DEFINITIONS)])
def test_a_process_with_duckdb_ends_in_silence(parts: tuple[str, ...], tmp_path: Path) -> None:
    """Also one that loads DuckDB first, such as a user's project that adds Signal's definitions."""
    environment = environment_with({"SIGNAL_ENV": "development", "SIGNAL_START_DATE": "2026-01-01"})
    done = subprocess.run(
        [sys.executable, "-c", "; ".join(parts)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
