"""The keys of a process: the ingest's secret, the audit log's key, the gateway's secret.

Each comes from the settings. In development, a key that is not set is generated once into a file
below `SIGNAL_HOME`; in production, a key that is missing or that somebody could guess is an error.
If the gateway's secret is not set, `api/identity/` generates one or raises the error.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from signal_pipeline.events.hashing import MINIMUM_SECRET_BYTES, check_secret
from signal_pipeline.settings import Settings, SettingsError
from signal_pipeline.texts.setting_texts import check_secret_text

MIN_AUDIT_KEY_BYTES = 32
MIN_GATEWAY_SECRET_BYTES = 16


def ingest_secret(settings: Settings) -> bytes:
    """Return the secret behind every salt, for processes that ingest (requirement 2.5).

    In development, if it is not set, it is generated once into `SIGNAL_HOME/salt-secret`, mode
    0600. Raises SettingsError in production if `SIGNALS_SALT_SECRET` is missing, shorter than 32
    bytes, or a placeholder. Raises WeakSecretError in development if it is shorter than 32 bytes.
    """
    if settings.salt_secret is not None:
        text = _production_secret(
            settings, "SIGNALS_SALT_SECRET", settings.salt_secret, MINIMUM_SECRET_BYTES
        )
    elif settings.production:
        raise SettingsError(
            "SIGNALS_SALT_SECRET is missing: production needs a secret of at least 32 bytes; "
            "make one with `openssl rand -hex 32`"
        )
    else:
        text = generated_secret(settings.home_path / "salt-secret", lambda: secrets.token_hex(32))
    return check_secret(text)


def audit_key(settings: Settings) -> bytes:
    """Return the key with which the audit log hashes its actors: `SIGNAL_AUDIT_KEY`.

    In development, if it is not set, it is generated once into `SIGNAL_HOME/audit-key`. In
    production a generated key would differ between machines, and one person would look like
    several. The salts' secret is not used as this key, because a process that only purges or reads
    does not need the salts' secret. Raises SettingsError for a key of fewer than 32 bytes, and in
    production for a missing or weak one.
    """
    if settings.audit_key is None:
        if settings.production:
            raise SettingsError(
                "SIGNAL_AUDIT_KEY is missing: production needs one to audit who acts; make it with"
                " `openssl rand -hex 32`"
            )
        return generated_secret(
            settings.home_path / "audit-key", lambda: secrets.token_hex(32)
        ).encode()
    key = _production_secret(
        settings, "SIGNAL_AUDIT_KEY", settings.audit_key, MIN_AUDIT_KEY_BYTES
    ).encode()
    if len(key) < MIN_AUDIT_KEY_BYTES:
        raise SettingsError(
            f"SIGNAL_AUDIT_KEY has fewer than {MIN_AUDIT_KEY_BYTES} bytes: make one with `openssl"
            " rand -hex 32`"
        )
    return key


def gateway_secret(settings: Settings) -> str | None:
    """Return the secret with which the gateway signs, `SIGNAL_HMAC_SECRET`; None if it is not set.

    Raises SettingsError in production if it is weak.
    """
    if settings.hmac_secret is None:
        return None
    return _production_secret(
        settings, "SIGNAL_HMAC_SECRET", settings.hmac_secret, MIN_GATEWAY_SECRET_BYTES
    )


def _production_secret(
    settings: Settings, variable: str, secret: SecretStr, least_bytes: int
) -> str:
    """Return the text of a secret.

    Raises SettingsError in production if it is short or somebody could guess it.
    """
    text = secret.get_secret_value()
    if settings.production:
        try:
            check_secret_text(text, least_bytes)
        except ValueError as error:
            raise SettingsError(
                f"{variable} {error}: make one with `openssl rand -hex 32`"
            ) from None
    return text


def generated_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in a file of mode 0600, made once if it is missing.

    For development only.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # Mode 0600.
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make())
        try:
            with suppress(FileExistsError):
                # If another process was first, this fails, and all processes share its secret.
                os.link(draft, path)
        finally:
            os.unlink(draft)
    return path.read_text(encoding="ascii").strip()
