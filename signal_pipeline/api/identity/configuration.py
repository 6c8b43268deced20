"""Turns the settings into the rules by which callers are identified."""

from __future__ import annotations

from signal_pipeline.api.identity import development
from signal_pipeline.api.identity.callers import Identification, Roles
from signal_pipeline.api.identity.tokens import PublicKeys, TokenVerifier
from signal_pipeline.settings import Settings, SettingsError


def identification_from(settings: Settings, *, gateway: bool) -> Identification:
    """Return the rules by which callers are identified, with the issuer's keys loaded.

    Production needs a setting for the gateway's secret and for the issuer's keys, name and
    audience; development makes its own. Raises SettingsError for a missing or unsafe setting, and
    KeysError if the issuer's keys cannot be read.
    """
    if settings.production:
        _check_production(settings)
    return Identification(
        _token_verifier(settings),
        development.local_gateway_secret(settings).encode() if gateway else None,
        settings.api_keys,
        _roles(settings),
        closed=settings.production,
    )


def _check_production(settings: Settings) -> None:
    missing = [
        name
        for name, value in (
            ("SIGNAL_HMAC_SECRET", settings.hmac_secret),
            ("SIGNAL_JWKS", settings.jwks),
            ("SIGNAL_JWT_ISSUER", settings.jwt_issuer),
            ("SIGNAL_JWT_AUDIENCE", settings.jwt_audience),
        )
        if value is None
    ]
    if missing:
        raise SettingsError(f"production cannot tell who is calling without {', '.join(missing)}")
    if (settings.jwks or "").startswith("http://"):
        raise SettingsError(
            "SIGNAL_JWKS: keys over plain http can be replaced in transit: write https:// or a file"
        )


def _token_verifier(settings: Settings) -> TokenVerifier:
    keys = PublicKeys(settings.jwks or str(development.public_keys_file(settings)))
    keys.load()
    return TokenVerifier(
        keys,
        settings.jwt_issuer or development.ISSUER,
        settings.jwt_audience or development.AUDIENCE,
    )


def _roles(settings: Settings) -> Roles:
    """Return how users get their roles.

    The tokens of the development issuer name roles in claims of their own.
    """
    admin_claim, analyst_claim = settings.admin_claim, settings.analyst_claim
    if settings.jwks is None:
        admin_claim = admin_claim or development.ADMIN_CLAIM
        analyst_claim = analyst_claim or development.ANALYST_CLAIM
    return Roles(
        {"admin": settings.admin_uids, "analyst": settings.analyst_uids},
        {"admin": admin_claim, "analyst": analyst_claim},
    )
