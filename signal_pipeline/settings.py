"""Every environment variable that Signal reads, in one place.

Values come from the environment, else from a `.env` file in the working folder. What a value means for a part of Signal
stands with that part; here is only its name, type and default. Names are listed in `.env.example`.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from signal_pipeline.errors import SignalError

MIN_RETENTION_DAYS = 7
MIN_AUDIT_KEY_BYTES = 32


class SettingsError(SignalError):
    """A setting is missing or wrong; the text names the variable, never its value."""


class Settings(BaseSettings):
    """Signal's settings; one field per environment variable (`SIGNAL_` and the field's name in capitals)."""

    model_config = SettingsConfigDict(
        env_prefix="SIGNAL_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    salt_secret: SecretStr | None = Field(default=None, validation_alias="SIGNALS_SALT_SECRET")
    audit_key: SecretStr | None = None
    env: Literal["development", "production"] | None = None
    database_url: str | None = None
    dagster_database_url: str | None = None
    home: Path = Path(".signal")
    landing_dir: Path | None = None
    retention_days: int = Field(default=180, ge=MIN_RETENTION_DAYS)
    start_date: date | None = None
    catalogue: Path | None = None
    rollup_engine: Literal["duckdb", "postgres"] = "duckdb"

    @model_validator(mode="after")
    def _environment_is_explicit(self) -> Settings:
        if self.database_url and self.env is None:
            raise ValueError("SIGNAL_ENV must be set (development or production) with SIGNAL_DATABASE_URL")
        return self

    @property
    def production(self) -> bool:
        """Whether this process serves production."""
        return self.env == "production"

    @property
    def home_path(self) -> Path:
        """`SIGNAL_HOME` as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def landing_path(self) -> Path:
        """The landing folder as an absolute path."""
        if self.landing_dir is None:
            return self.home_path / "landing"
        return self.landing_dir.expanduser().resolve()

    @property
    def tmp_path(self) -> Path:
        """Where spill files go: mode 0700, emptied at start."""
        return self.home_path / "tmp"


def load_settings() -> Settings:
    """Read the settings; raises SettingsError with one line that names the variables at fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(item) for item in error.errors())) from None


def _complaint(item: object) -> str:
    assert isinstance(item, dict)
    message = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0])
    variable = name if name.startswith("SIGNAL") else f"SIGNAL_{name.upper()}"
    return f"{variable}: {message}"


def salt_secret(settings: Settings) -> str:
    """Return the secret behind every salt, for processes that ingest (requirements section 2).

    In development a generated secret stands in `SIGNAL_HOME/salt-secret`, mode 0600. Raises SettingsError in production
    when `SIGNALS_SALT_SECRET` is missing.
    """
    if settings.salt_secret is not None:
        return settings.salt_secret.get_secret_value()
    if settings.production:
        raise SettingsError(
            "SIGNALS_SALT_SECRET is missing: production needs a secret of at least 32 bytes; "
            "make one with `openssl rand -hex 32`"
        )
    return _generated_secret(settings.home_path / "salt-secret")


def audit_key(settings: Settings) -> bytes:
    """The key under which the audit's actors are hashed: `SIGNAL_AUDIT_KEY`, else generated in `SIGNAL_HOME/audit-key`.

    Not the salt secret: who purges or reads need not hold that. Raises SettingsError for a key of fewer than 32 bytes.
    """
    if settings.audit_key is None:
        return _generated_secret(settings.home_path / "audit-key").encode()
    key = settings.audit_key.get_secret_value().encode()
    if len(key) < MIN_AUDIT_KEY_BYTES:
        raise SettingsError(
            f"SIGNAL_AUDIT_KEY has fewer than {MIN_AUDIT_KEY_BYTES} bytes: make one with `openssl rand -hex 32`"
        )
    return key


def _generated_secret(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # Mode 0600.
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        try:
            with suppress(FileExistsError):
                os.link(draft, path)  # Fails when another process was first, so that all share one secret.
        finally:
            os.unlink(draft)
    return path.read_text(encoding="ascii").strip()
