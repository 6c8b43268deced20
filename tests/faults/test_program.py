"""`python -m faults` says what is broken, and ends with everything that it started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from support.waits import PATIENCE_SECONDS

PROJECT = Path(__file__).parents[2]
# A fault that is found while a server is under load.
PROGRAM = """
import sys
from datetime import UTC, datetime
from random import Random
from faults import __main__ as program, actions
from faults.api_kills import ApiUnderFire
from faults.world import FaultFoundError, World

def planted(home, seed, options):
    world = World(home)
    world.finish(actions.migrate_all)
    api = ApiUnderFire(world, datetime.now(UTC).date(), Random(seed))
    server = api.start()
    api.until_answered(server)
    print("pids", server.pid, world.postmaster(), flush=True)
    raise {"fault": FaultFoundError, "error": ValueError}[sys.argv.pop()]("planted")

program.PARTS["kills"] = planted
sys.exit(program.main())
"""


@pytest.mark.embedded_only
@pytest.mark.parametrize(("kind", "said"), [("fault", "kills: BROKEN: planted"), ("error", "")])
def test_a_fault_that_is_found_under_load_ends_the_program(
    tmp_path: Path, kind: str, said: str
) -> None:
    # Short, because the path of a socket has at most 107 bytes.
    with (
        (tmp_path / "out").open("wb") as out,
        tempfile.TemporaryDirectory(prefix="sig-", dir="/tmp") as folder,
    ):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "kills", kind],
            cwd=PROJECT,
            env={**os.environ, "TMPDIR": folder},
            stdout=out,
            stderr=out,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    text = (tmp_path / "out").read_text()
    assert done.returncode == 1
    assert "planted" in text
    assert said in text
    started = re.search(r"(?m)^pids (\d+) (\d+)$", text)
    assert started is not None
    assert not any(psutil.pid_exists(int(pid)) for pid in started.groups())
