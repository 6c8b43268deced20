"""The command with the settings of a test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from support.commands import Signal, run_command

from signal_pipeline.settings import Settings


@pytest.fixture
def signal(environment: Settings, tmp_path: Path) -> Signal:
    """Runs the command with the test's settings; keyword arguments change the environment."""
    return partial(run_command, cwd=tmp_path)
