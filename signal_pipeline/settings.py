"""Every environment variable of Signal's own, in one place.

A value comes from the environment, or else from a `.env` file in the working folder. This module
holds the name, type, default and form of each variable. What a variable means is explained in the
part of Signal that uses it; `keys.py` decides whether a secret will do. `.env.example` lists all
names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from signal_pipeline.errors import SignalError
from signal_pipeline.texts.setting_texts import (
    check_claim_rule,
    check_dagster_url,
    check_database_url,
    check_port,
    check_text,
)

MIN_RETENTION_DAYS = 7
MAX_DAYS = 36_500
MAX_SHARDS = 64_000  # Citus allows no more.
ENV_FILE = ".env"
FIRST_START_DATE, LAST_START_DATE = date(2000, 1, 1), date(2999, 12, 31)
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class SettingsError(SignalError):
    """A setting is missing or wrong. The text names it, or its file, and never a secret."""


Network = IPv4Network | IPv6Network
_MAPPED = IPv6Network("::ffff:0:0/96")
_KEY_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
_API_KEY = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-fA-F]{64})")


def _parse_names(value: object) -> object:
    """Parse a comma-separated list."""
    if not isinstance(value, str):
        return value
    return frozenset(part for part in map(str.strip, value.split(",")) if part)


def _parse_api_keys(value: object) -> object:
    """Parse `name:sha256,...` into a mapping from digest to name."""
    if not isinstance(value, str):
        return value
    found = {}
    for number, part in enumerate(filter(None, map(str.strip, value.split(","))), 1):
        match = _API_KEY.fullmatch(part)
        if match is None:
            raise ValueError(f"entry {number} is not NAME:SHA256 with 64 hexadecimal digits")
        if match[2].lower() == _EMPTY_SHA256:
            raise ValueError(f"entry {number} is the digest of an empty key")
        found[match[2].lower()] = match[1]
    return found


def _parse_networks(value: object) -> object:
    """Parse comma-separated networks in CIDR notation; a single address is a network of one."""
    if not isinstance(value, str):
        return value
    found = []
    for number, part in enumerate(filter(None, map(str.strip, value.split(","))), 1):
        try:
            found.append(_unmapped(ip_network(part)))
        except ValueError:
            raise ValueError(
                f"entry {number} is not a network in CIDR notation, such as 10.0.0.0/8"
            ) from None
    return tuple(found)


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network that an IPv4-mapped network stands for, else the network itself.

    Callers' addresses are compared in their IPv4 form.
    """
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        address = network.network_address.packed[-4:]
        return IPv4Network((address, network.prefixlen - _MAPPED.prefixlen))
    return network


def _parse_key_prefix(value: object) -> object:
    """Parse `part/part/...` into parts that are valid in an asset key and in a job's name."""
    if not isinstance(value, str):
        return value
    parts = value.split("/")
    if not all(map(_KEY_PART.fullmatch, parts)):
        raise ValueError(
            "is not one or more names, separated by /, each of at most 64 letters, digits, _ and -"
        )
    return tuple(parts)


def _validator(check: Callable[[str], None]) -> AfterValidator:
    def checked(value: str | SecretStr | None) -> str | SecretStr | None:
        if value is not None:
            check(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(checked)


class Settings(BaseSettings):
    """Signal's settings, one field per environment variable.

    A variable is `SIGNAL_` and the field's name in capitals, or the field's alias.
    """

    model_config = SettingsConfigDict(
        env_prefix="SIGNAL_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    salt_secret: SecretStr | None = Field(default=None, validation_alias="SIGNALS_SALT_SECRET")
    audit_key: SecretStr | None = None
    env: Literal["development", "production"] | None = None
    database_url: Annotated[str | None, _validator(check_database_url)] = Field(
        default=None, repr=False
    )
    dagster_database_url: Annotated[str | None, _validator(check_dagster_url)] = Field(
        default=None, repr=False
    )
    home: Path = Path(".signal")
    landing_dir: Path | None = None
    retention_days: int = Field(default=180, ge=MIN_RETENTION_DAYS, le=MAX_DAYS)
    asset_key_prefix: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_key_prefix)] = ()
    dagster_retention_days: int = Field(default=7, ge=0, le=MAX_DAYS)
    start_date: date | None = Field(default=None, ge=FIRST_START_DATE, le=LAST_START_DATE)
    catalogue: Path | None = None
    rollup_engine: Literal["duckdb", "postgres"] = "duckdb"
    distributed: Literal["citus"] | None = None
    shards: int | None = Field(default=None, ge=1, le=MAX_SHARDS)
    hmac_secret: SecretStr | None = None
    jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    admin_uids: Annotated[frozenset[str], NoDecode, BeforeValidator(_parse_names)] = frozenset()
    admin_claim: Annotated[str | None, _validator(check_claim_rule)] = None
    analyst_uids: Annotated[frozenset[str], NoDecode, BeforeValidator(_parse_names)] = frozenset()
    analyst_claim: Annotated[str | None, _validator(check_claim_rule)] = None
    api_keys: Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_api_keys)] = Field(
        default_factory=dict
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_parse_networks)] = ()
    rate_limit_url: Annotated[SecretStr | None, _validator(check_port)] = None
    spool_dir: Path | None = None
    max_connections: int | None = Field(default=None, ge=16, le=1_000_000)
    max_connections_per_peer: int | None = Field(default=None, ge=1, le=1_000_000)
    alert_urls: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_unusable_texts(cls, values: dict[str, object]) -> dict[str, object]:
        """Raise ValueError, with the variable's name, for a value that no library could use."""
        for name, field in cls.model_fields.items():
            variable = str(field.validation_alias or f"SIGNAL_{name.upper()}")
            value, is_path = (
                values.get(variable, values.get(name)),
                field.annotation in (Path, Path | None),
            )
            if not isinstance(value, str):
                continue
            try:
                check_text(value, is_path=is_path)
                if is_path:
                    Path(value).expanduser()
            except ValueError as error:
                raise ValueError(f"{variable}: {error}") from None
            except RuntimeError:
                raise ValueError(f"{variable}: no user has this home folder") from None
        return values

    @field_validator("home", "landing_dir", "catalogue", "spool_dir")
    @classmethod
    def _expand_user(cls, path: Path | None) -> Path | None:
        return path and path.expanduser()

    @model_validator(mode="after")
    def _require_env_with_database(self) -> Settings:
        if self.database_url and self.env is None:
            raise ValueError(
                "SIGNAL_ENV must be set (development or production) with SIGNAL_DATABASE_URL"
            )
        return self

    @property
    def production(self) -> bool:
        """Return whether this process serves production."""
        return self.env == "production"

    @property
    def home_path(self) -> Path:
        """Return `SIGNAL_HOME` as an absolute path. Raises SettingsError for a loop of links."""
        return _resolved(self.home, "SIGNAL_HOME")

    @property
    def landing_path(self) -> Path:
        """Return the landing folder as an absolute path.

        Raises SettingsError for a loop of links.
        """
        if self.landing_dir is None:
            return self.home_path / "landing"
        return _resolved(self.landing_dir, "SIGNAL_LANDING_DIR")

    @property
    def tmp_path(self) -> Path:
        """Return the folder in which `rollups/scratch.py` makes its private folders."""
        return self.home_path / "tmp"


def _resolved(path: Path, variable: str) -> Path:
    try:
        path.stat()  # From Python 3.13 on, `resolve` takes a loop for a path that does not exist.
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SettingsError(
                f"{variable}: is a loop of symbolic links: remove a link, or choose another folder"
            ) from None
    return path.resolve()


def load_settings() -> Settings:
    """Read the settings.

    Raises SettingsError with one line that names the variables, or the file, at fault.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(item) for item in error.errors())) from None
    except UnicodeDecodeError:
        raise SettingsError(
            f"{ENV_FILE} in this folder is not UTF-8 text: write it anew from .env.example"
        ) from None


def env_file_warning() -> str | None:
    """Return a warning if others on this machine can read or change `.env` in the working folder.

    Returns None if they cannot. Root does not count as another user, since it can read every file
    anyway.
    """
    with suppress(OSError):
        found = os.stat(ENV_FILE)
        if found.st_uid not in (0, os.geteuid()):
            return (
                f"another user owns {ENV_FILE}, which can hold secrets: put a file of your own in"
                " its place"
            )
        if found.st_mode & 0o077:
            return (
                f"others on this machine can read {ENV_FILE}, which can hold secrets: run `chmod"
                f" 600 {ENV_FILE}`"
            )
    return None


def _complaint(item: object) -> str:
    assert isinstance(item, dict)
    message = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0])
    variable = name if name.startswith("SIGNAL") else f"SIGNAL_{name.upper()}"
    return f"{variable}: {message}"
