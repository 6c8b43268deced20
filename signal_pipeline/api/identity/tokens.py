"""Login tokens: JWTs of the issuer, verified against its published keys.

Only RS256 is accepted; the issuer, the audience, and the times `exp`, `nbf` and `iat` are checked.
A token is never stored or logged. Verified tokens are remembered by their digest for minutes, not
until they expire, because a key that its issuer withdraws must stop working.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, NamedTuple

import jwt

from signal_pipeline.api.refusals import ApiError, unauthenticated
from signal_pipeline.errors import SignalError

logger = logging.getLogger(__name__)

LEEWAY_SECONDS = 30
KEYS_LIFE_SECONDS = 3600.0
RETRY_SECONDS = 3.0  # Between two loads: unknown key ids must not make us flood the issuer.
LOAD_TIMEOUT_SECONDS = 5.0
MAX_KEYS_BYTES = 1 << 20
REMEMBERED_TOKENS = 10_000
REMEMBERED_SECONDS = 300.0

Claims = Mapping[str, Any]  # Any: an issuer can write whatever it likes into a token.


class KeysError(SignalError):
    """The error for an issuer's keys that cannot be read."""


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """A handler that follows redirects, but none from https to plain http.

    Keys that travel over plain http can be replaced in transit.
    """

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise KeysError(
                "SIGNAL_JWKS: redirected from https to plain http, where keys can be replaced in"
                " transit"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class PublicKeys:
    """The issuer's public keys by key id, loaded again as they age.

    `source` is the path of a JWKS file or an http(s) URL. Call `load` before serving, so that a
    wrong source is an error at the start.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._keys: dict[str, jwt.PyJWK] = {}
        self._loaded_at = self._tried_at = float("-inf")
        self._loading = asyncio.Lock()
        # Held here, because the event loop would let the task be garbage-collected.
        self._refresh: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Read the keys now. Raises KeysError with the reason if that fails."""
        try:
            keys = jwt.PyJWKSet.from_json(self._text()).keys
        except (
            OSError,
            HTTPException,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            jwt.PyJWTError,
        ) as error:
            raise KeysError(f"SIGNAL_JWKS: no usable keys found ({type(error).__name__})") from None
        finally:  # Counted from the end, so that a slow load is not followed by another at once.
            self._tried_at = time.monotonic()
        self._keys = {key.key_id or "": key for key in keys}
        self._loaded_at = time.monotonic()

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the key of this id, or None if the issuer does not publish it.

        An unknown id or old keys cause the keys to be loaded again. A caller with a known key never
        waits for that: the key is returned at once, and old keys are replaced in the background.
        """
        key = self._keys.get(key_id)
        if key is None:
            await self._load_again()
            return self._keys.get(key_id)
        if time.monotonic() - self._loaded_at > KEYS_LIFE_SECONDS and not self._loading.locked():
            self._refresh = asyncio.create_task(self._load_again())
        return key

    async def _load_again(self) -> None:
        async with self._loading:
            if time.monotonic() - self._tried_at > RETRY_SECONDS:
                try:
                    await asyncio.to_thread(self.load)
                except KeysError as error:  # The keys that we have stay valid meanwhile.
                    logger.warning("%s", error)

    def _text(self) -> str:
        if not self._source.startswith(("https://", "http://")):
            return Path(self._source).read_text(encoding="utf-8")
        opener = urllib.request.build_opener(_NoDowngrade)
        with opener.open(self._source, timeout=LOAD_TIMEOUT_SECONDS) as answer:
            return str(answer.read(MAX_KEYS_BYTES).decode("utf-8"))


class _VerifiedToken(NamedTuple):
    """The claims of a token, and the time until which they are believed without another check."""

    claims: Claims
    until: float


class TokenVerifier:
    """A verifier of one issuer's tokens for one audience."""

    def __init__(self, keys: PublicKeys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._verified: dict[bytes, _VerifiedToken] = {}  # By the token's digest.

    async def claims(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises ApiError for any other token, without saying what was in it.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = time.time()
        verified = self._verified.get(digest)
        if verified is not None and now < verified.until:
            return verified.claims
        claims = await self._verify(token)
        if len(self._verified) >= REMEMBERED_TOKENS:
            self._verified.clear()
        until = min(int(claims["exp"]) + LEEWAY_SECONDS, now + REMEMBERED_SECONDS)
        self._verified[digest] = _VerifiedToken(claims, until)
        # Claims hold names and e-mail addresses. They leave the memory on time, even if no other
        # token comes.
        asyncio.get_running_loop().call_later(until - now, self._verified.pop, digest, None)
        return claims

    async def _verify(self, token: str) -> Claims:
        try:
            key_id = jwt.get_unverified_header(token).get("kid") or ""
        except (jwt.PyJWTError, ValueError):
            raise unauthenticated("the token is malformed") from None
        key = await self._keys.key(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise unauthenticated("the token's key is unknown")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise _refusal(error) from None
        return claims


def _refusal(error: Exception) -> ApiError:
    messages: dict[type[Exception], str] = {
        jwt.ExpiredSignatureError: "the token has expired",
        jwt.InvalidAudienceError: "the token is for another audience",
        jwt.InvalidIssuerError: "the token is from another issuer",
    }
    return unauthenticated(messages.get(type(error), "the token is not valid"))
