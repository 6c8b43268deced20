"""The environment of node and npm, which run packages of others: nothing secret of the developer's.

Variables such as `NODE_OPTIONS` would also change what a test sees.
"""

from __future__ import annotations

import os

# Where npm's cache and settings are, and how it reaches the registry.
_NPM = (
    "HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
)


def node_environment() -> dict[str, str]:
    """What a program for node needs."""
    return {"PATH": os.environ["PATH"]}


def npm_environment() -> dict[str, str]:
    """What npm needs to install packages."""
    more = {
        name: value
        for name, value in os.environ.items()
        if name.upper() in _NPM or name.lower().startswith("npm_config_")
    }
    return {**node_environment(), **more}
