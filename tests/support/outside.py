"""Samples that are beside the checkout and not part of it: without them, their tests are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

REAL_TRAFFIC = Path(__file__).parents[3] / "shared" / "data" / "real_traffic.ndjson"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skip a test, with the one reason for all of them, if its sample is not there."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not beside the checkout")
