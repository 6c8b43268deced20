"""Who is calling: a service with an API key, a person with a login token, or the public.

A person is believed if three things agree: the gateway's signature over the request, the login
token (verified against its issuer's keys), and the claims that the gateway forwarded (requirement
6.5). The signature alone does not bind the identity: anyone who captured a signed request could
send it again with forged claims.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from signal_pipeline.api.identity.signature import signature_is_valid
from signal_pipeline.api.identity.tokens import Claims, TokenVerifier
from signal_pipeline.api.refusals import unauthenticated

Role = Literal["admin", "analyst"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A service, recognised by its key. It may read aggregates. `name` is the service's name."""

    name: str


@dataclass(frozen=True, slots=True, repr=False)
class Authenticated:
    """A person who came through the gateway.

    The user id must not reach a log, so `repr` does not show it.
    """

    uid: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Public:
    """A caller without any credential."""


Caller = ApiKey | Authenticated | Public


@dataclass(frozen=True, slots=True)
class Roles:
    """The rules for who has a role: listed user ids, or a claim of the token.

    A claim is written as `NAME` (its value must be true) or `NAME=VALUE` (its value must equal
    VALUE, or be a list that holds it).
    """

    uids: Mapping[Role, frozenset[str]]
    claims: Mapping[Role, str | None]

    def of_person(self, uid: str, claims: Claims) -> frozenset[Role]:
        """Return the roles of a person."""
        roles: tuple[Role, ...] = ("admin", "analyst")
        return frozenset(
            role
            for role in roles
            if uid in self.uids[role] or _has_claim(claims, self.claims[role])
        )


def _has_claim(claims: Claims, rule: str | None) -> bool:
    if not rule:
        return False
    name, equals, required = rule.partition("=")
    value = claims.get(name)
    if not equals:
        return value is True
    return value == required or (isinstance(value, list) and required in value)


@dataclass(frozen=True, slots=True)
class Identification:
    """The rules by which callers are identified.

    `api_keys` maps the digest of a key to the name of its service. If `gateway_secret` is None, no
    signature is asked for (development without a gateway). If there is a secret and `closed` is
    set, as in production, a caller with neither a signature nor a key is refused before any GraphQL
    is parsed. If `closed` is not set, a caller without any credential is `Public`, so that a
    program that composes the supergraph can read the schema.
    """

    tokens: TokenVerifier
    gateway_secret: bytes | None
    api_keys: Mapping[str, str]
    roles: Roles
    closed: bool

    async def caller(
        self, authorization: str, query: str, variables: object, extensions: Mapping[str, object]
    ) -> Caller:
        """Return who sent this request.

        Raises ApiError for an authorization header of an unknown form, for a missing or wrong
        signature, for a bad token or key, and for forwarded claims that are not the token's.

        A credential that fails never falls back to `Public`: it is an error, so that no client
        sends events into the void for months.
        """
        scheme, _, credential = authorization.strip().partition(" ")
        signed = self._check_signature(query, variables, extensions)
        if scheme == "Bearer":
            return self._service_of_key(credential.strip())
        if scheme not in ("", "JWT"):
            raise unauthenticated(
                "the authorization header must be `JWT <token>` or `Bearer <key>`"
            )
        if self.gateway_secret is not None and not signed and (scheme or self.closed):
            raise unauthenticated(
                "the gateway's signature is missing: send requests through the gateway"
            )
        if scheme == "":
            return Public()
        claims = await self.tokens.claims(credential.strip())
        uid = claims.get("user_id") or claims.get("sub")
        if not isinstance(uid, str) or not uid:
            raise unauthenticated("the token names no user")
        if self.gateway_secret is not None:
            _check_forwarded(extensions, claims)
        return Authenticated(uid, self.roles.of_person(uid, claims))

    def _check_signature(
        self, query: str, variables: object, extensions: Mapping[str, object]
    ) -> bool:
        """Return whether the request is signed. Raises ApiError for a wrong signature."""
        signature = extensions.get("hmac-signature")
        if signature is None or self.gateway_secret is None:
            return False
        if not isinstance(signature, str) or not signature_is_valid(
            self.gateway_secret, query, variables, signature
        ):
            raise unauthenticated("the gateway's signature is not valid")
        return True

    def _service_of_key(self, key: str) -> ApiKey:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        name = None
        # Every key is compared, in constant time, so that the time says nothing about the keys.
        for key_digest, key_name in self.api_keys.items():
            if hmac.compare_digest(key_digest, digest):
                name = key_name
        if name is None:
            raise unauthenticated("the API key is unknown")
        return ApiKey(name)


def _check_forwarded(extensions: Mapping[str, object], claims: Claims) -> None:
    """Check that the claims that the gateway forwarded are the token's own. Raises ApiError."""
    forwarded = extensions.get("jwt")
    payload = forwarded.get("payload") if isinstance(forwarded, dict) else None
    if not isinstance(payload, dict) or not (payload.get("user_id") or payload.get("sub")):
        raise unauthenticated("the gateway forwarded no user")
    if any(name not in claims or claims[name] != value for name, value in payload.items()):
        raise unauthenticated("the forwarded user is not the token's")
