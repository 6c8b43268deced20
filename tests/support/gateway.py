"""A real Hive Gateway and a real composer in front of a real server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from filelock import FileLock
from support.node import node_environment, npm_environment
from support.traffic import CHROME
from support.waits import PATIENCE_SECONDS
from support.wire import AUDIENCE, GATEWAY_SECRET, ISSUER, Issuer, Server

from faults.wire import free_port
from signal_pipeline.api.graphql.schema import sdl

PROJECT = Path(__file__).parents[1] / "api" / "gateway"
OTHER_SUBGRAPH = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.6", import: ["@key"])
type Query { me: User }
type User @key(fields: "id") { id: ID! name: String }
"""


def install_gateway() -> Path:
    """Install the gateway and the composer once, into a cache folder outside the tree.

    Skips the test if that is not possible.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is missing: the real gateway was not tried")
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signal-pipeline-tests"
    )
    wanted = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = cache / f"gateway-{wanted}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for file in PROJECT.iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        if not (folder / ".installed").exists():
            command = [
                "npm",
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            done = subprocess.run(
                command,
                cwd=folder,
                env=npm_environment(),
                capture_output=True,
                check=False,
            )
            if done.returncode:
                pytest.skip("npm ci failed: the real gateway was not tried")
            (folder / ".installed").touch()
    return folder


def compose(project: Path, folder: Path, url: str) -> Path:
    """The supergraph of Signal and another subgraph; fails with the composer's words."""
    signal_sdl, other_sdl, supergraph = (
        folder / "signal.graphql",
        folder / "other.graphql",
        folder / "supergraph.graphql",
    )
    signal_sdl.write_text(sdl())
    other_sdl.write_text(OTHER_SUBGRAPH)
    subgraphs = ["signal", url, signal_sdl, "users", "http://127.0.0.1:1/graphql", other_sdl]
    done = subprocess.run(
        ["node", "compose.mjs", *map(str, subgraphs)],
        cwd=project,
        env=node_environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    supergraph.write_bytes(done.stdout)
    return supergraph


@dataclass(frozen=True)
class Gateway:
    """A running gateway, which an app calls."""

    url: str
    issuer: Issuer

    def call(
        self,
        query: str,
        variables: dict[str, object] | None = None,
        token: str | None = None,
        **more: object,
    ) -> httpx.Response:
        """Call as an app does."""
        headers = {"user-agent": CHROME, "x-forwarded-for": "198.51.100.20, 10.0.0.1"}
        if token is not None:
            headers["authorization"] = f"JWT {token}"
        body = {"query": query, "variables": variables, **more}
        return httpx.post(
            f"{self.url}/graphql", json=body, headers=headers, timeout=PATIENCE_SECONDS
        )

    def token(self, uid: str = "user-1", **claims: object) -> str:
        """A login token."""
        return self.issuer.token(self.issuer.claims(uid, **claims))


@contextmanager
def running_gateway(
    project: Path, folder: Path, api: Server, issuer: Issuer, **settings: str
) -> Iterator[Gateway]:
    """A real Hive Gateway in front of a server.

    `settings` are further variables that its configuration reads.
    """
    supergraph = compose(project, folder, f"{api.url}/graphql")
    (folder / "issuer.pem").write_text(issuer.public_pem())
    port = free_port()
    environment = {
        **node_environment(),
        "HOME": str(folder),
        "SUPERGRAPH": str(supergraph),
        "PORT": str(port),
        "HMAC_SECRET": GATEWAY_SECRET,
        "ISSUER_PEM": str(folder / "issuer.pem"),
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "NODE_ENV": "production",
        **settings,
    }
    command = ["node", "node_modules/.bin/hive-gateway", "supergraph", "-c", "gateway.config.mjs"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(f"http://127.0.0.1:{port}/healthcheck", process, folder / "log")
        yield Gateway(f"http://127.0.0.1:{port}", issuer)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    pytest.fail(f"the gateway does not start: {log.read_text()[-2000:]}")
