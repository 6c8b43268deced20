"""Keys, and requests signed with them, for development on a machine without gateway or issuer.

The keys are in `SIGNAL_HOME/development`, mode 0600, and are never used in production.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from signal_pipeline.api.identity.signature import signature_of
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.keys import gateway_secret, generated_secret
from signal_pipeline.settings import Settings, SettingsError

ISSUER = AUDIENCE = "signal-development"
ADMIN_CLAIM = "signal_admin"
ANALYST_CLAIM = "signal_analyst"
KEY_ID = "development"
TOKEN_SECONDS = 12 * 3600
USER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Safari/537.36"
)
CREATE = """mutation ($input: EventCreateInput!) {
  eventCreate(input: $input) { id createdAt deviceType } }"""
READ = """query { events(limit: 5) { createdAt appName eventType route userHash } }"""
STATS = """query ($day: Date!) { eventStats(by: APP, from: $day, to: $day) {
  rows { appName eventType events users states } suppressedRows notes } }"""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A request as the gateway would send it."""

    url: str
    headers: dict[str, str]
    body: dict[str, object]

    def curl(self) -> str:
        """Return a curl command that sends the request."""
        headers = " ".join(
            f"-H {shlex.quote(f'{name}: {value}')}" for name, value in self.headers.items()
        )
        return (
            f"curl -sS {headers} --data {shlex.quote(json.dumps(self.body))}"
            f" {shlex.quote(self.url)}"
        )


def private_key(settings: Settings) -> str:
    """Return the development issuer's private key in PEM. It is generated once."""
    return generated_secret(settings.home_path / "development" / "issuer-key.pem", _new_key)


def public_keys_file(settings: Settings) -> Path:
    """Return the path of the file with the development issuer's JWKS.

    If the issuer's key is made anew, so is the file.
    """
    loaded = serialization.load_pem_private_key(private_key(settings).encode(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(loaded.public_key(), as_dict=True)
    text = json.dumps({"keys": [{**jwk, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]})
    path = settings.home_path / "development" / "jwks.json"
    if generated_secret(path, lambda: text) != text:  # Somebody has removed the private key.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        generated_secret(draft, lambda: text)
        draft.replace(path)
    return path


def local_gateway_secret(settings: Settings) -> str:
    """Return the gateway's secret. In development, one is generated if none is set."""
    return gateway_secret(settings) or generated_secret(
        settings.home_path / "development" / "gateway-secret", lambda: secrets.token_hex(32)
    )


def sample_request(
    settings: Settings, user: str, *, admin: bool, analyst: bool, url: str
) -> SampleRequest:
    """Return the request of a person, as the gateway would sign it and send it on.

    The request of an admin reads the newest events, that of an analyst reads the numbers of today
    (UTC), and any other request stores an event. Raises SettingsError in production, and if tokens
    come from a real issuer.
    """
    if settings.production:
        raise SettingsError("`token` is for development: in production people log in")
    if settings.jwks is not None:
        raise SettingsError(
            "`token` signs with the development keys: unset SIGNAL_JWKS, or take a token of your"
            " issuer"
        )
    claims = _claims(settings, user, admin=admin, analyst=analyst)
    token = jwt.encode(claims, private_key(settings), "RS256", {"kid": KEY_ID})
    query, variables = _sample_query(admin=admin, analyst=analyst)
    extensions = {
        "jwt": {"payload": claims},
        "hmac-signature": signature_of(local_gateway_secret(settings).encode(), query, variables),
    }
    body: dict[str, object] = {"query": query, "variables": variables, "extensions": extensions}
    headers = {
        "content-type": "application/json",
        "authorization": f"JWT {token}",
        "user-agent": USER_AGENT,  # curl's own counts as a bot.
        "x-forwarded-for": "198.51.100.7",
    }
    return SampleRequest(url, headers, body)


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _claims(settings: Settings, user: str, *, admin: bool, analyst: bool) -> dict[str, object]:
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": settings.jwt_issuer or ISSUER,
        "aud": settings.jwt_audience or AUDIENCE,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "sub": user,
        "user_id": user,
    }
    roles: dict[str, list[str]] = {}
    for has_role, claim in (
        (admin, settings.admin_claim or ADMIN_CLAIM),
        (analyst, settings.analyst_claim or ANALYST_CLAIM),
    ):
        name, equals, value = claim.partition("=")
        if has_role and equals:  # Both roles can be values of one claim.
            roles.setdefault(name, []).append(value)
        elif has_role:
            claims[name] = True
    return claims | roles


def _sample_query(*, admin: bool, analyst: bool) -> tuple[str, dict[str, object]]:
    if admin:
        return READ, {}
    if analyst:
        return STATS, {"day": today_utc().isoformat()}
    return CREATE, {"input": _sample_event()}


def _sample_event() -> dict[str, object]:
    return {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "route": "/journeys",
        "sessionId": str(uuid.uuid4()),
        "clientEventId": str(uuid.uuid4()),
    }
