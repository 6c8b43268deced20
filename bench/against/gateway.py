"""The gateway of the measurements: it signs requests, and both builds know its keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import SecretStr

from bench.server import SECRET
from bench.wire import create_requests, exchange, http_request
from signal_pipeline.api.identity import development
from signal_pipeline.api.identity.signature import signature_of
from signal_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway, with its keys in a folder that is no build's home."""

    folder: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables that make `serve` trust this gateway and its tokens."""
        return {
            "SIGNAL_HMAC_SECRET": SECRET,
            "SIGNAL_JWKS": str(development.public_keys_file(_settings(self.folder))),
            "SIGNAL_JWT_ISSUER": development.ISSUER,
            "SIGNAL_JWT_AUDIENCE": development.AUDIENCE,
            "SIGNAL_ADMIN_CLAIM": development.ADMIN_CLAIM,
        }

    def events(self, count: int, turn: str) -> list[bytes]:
        """Return `eventCreate` requests; both builds get the same ones in the same turn."""
        return _events(self.folder, count, turn)

    def question(self, query: str, variables: Mapping[str, object], user: str) -> bytes:
        """Return a request of an admin."""
        sample = development.sample_request(
            _settings(self.folder), user, admin=True, analyst=False, url=""
        )
        extensions = sample.body["extensions"]
        assert isinstance(extensions, dict)
        signature = signature_of(SECRET.encode(), query, dict(variables))
        body = {
            "query": query,
            "variables": variables,
            "extensions": {**extensions, "hmac-signature": signature},
        }
        return http_request(sample.headers, json.dumps(body).encode())


def ask(port: int, request: bytes) -> bytes:
    """Send one request over a connection of its own; return the body of its answer."""

    async def once() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await exchange(reader, writer, request)
        finally:
            writer.close()

    return asyncio.run(once())


@lru_cache(maxsize=4)
def _events(folder: Path, count: int, turn: str) -> list[bytes]:
    return create_requests(_settings(folder), count, turn)


def _settings(folder: Path) -> Settings:
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=folder,
        hmac_secret=SecretStr(SECRET),
        env="development",
    )
