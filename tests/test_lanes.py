"""The tests are spread over workers so that whole deployments of Dagster do not starve each other."""

from __future__ import annotations

import re
from pathlib import Path

from support.parallel import LANES

TESTS = Path(__file__).parent
STARTS_DAGSTER = re.compile(r"\b(dagster_processes|running_dev|wait_for_ui)\(")


def test_every_file_that_starts_a_deployment_is_in_a_lane() -> None:
    starting = {
        str(path.relative_to(TESTS.parent))
        for path in TESTS.rglob("test_*.py")
        if STARTS_DAGSTER.search(path.read_text())
    }
    assert starting - {"tests/test_lanes.py"} <= {path for lane in LANES for path in lane}
