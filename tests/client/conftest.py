"""The npm package, built once.

It is installed if it is missing or its lock changed. Tests are skipped where it cannot be
installed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.client import CLIENT, Npm, install_client, npm_in


@pytest.fixture(scope="session")
def installed() -> Path:
    """The client's folder, with its packages."""
    return install_client()


@pytest.fixture(scope="session")
def npm(installed: Path) -> Npm:
    """Runs npm in the client's folder."""
    return npm_in(installed)


@pytest.fixture(scope="session")
def built(npm: Npm) -> Path:
    """The client's folder, with `dist` built from the present sources."""
    npm("run", "build")
    return CLIENT
