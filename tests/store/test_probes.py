"""Probes by themselves: what must not turn a check red."""

from __future__ import annotations

import subprocess
import sys

import pytest

from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection
from signal_pipeline.store.probes import yesterday_is_built


@pytest.mark.embedded_only
def test_a_missing_yesterday_is_no_fault_on_the_day_of_the_installation(
    connection: Connection, models: dict[str, Model]
) -> None:
    checksums = {name: model.checksum for name, model in models.items()}
    assert yesterday_is_built(connection, checksums).passed
    connection.execute("update signal.instance set created_at = now() - interval '3 days'")
    finding = yesterday_is_built(connection, checksums)
    assert not finding.passed
    assert "no row at all" in finding.message


def test_the_store_loads_without_the_ingest() -> None:
    code = "import sys, signal_pipeline.store.probes; sys.exit('signal_pipeline.ingest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
