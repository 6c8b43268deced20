"""Settings: names, defaults, what is refused, and the development secret."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import date
from pathlib import Path

import pytest
from support.commands import run_command

from signal_pipeline.api.identity.forwarded import is_trusted
from signal_pipeline.keys import ingest_secret
from signal_pipeline.settings import (
    Settings,
    SettingsError,
    env_file_warning,
    load_settings,
)

ROOT = Path(__file__).parents[1]
SECRET = "a-secret-that-nobody-may-see-anywhere"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SIGNAL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home_path == tmp_path / ".signal"
    assert settings.landing_path == tmp_path / ".signal" / "landing"
    assert settings.retention_days == 180
    assert settings.rollup_engine == "duckdb"
    assert not settings.production
    assert (settings.database_url, settings.start_date, settings.catalogue) == (None, None, None)


def test_every_variable_is_read_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_ENV": "production",
        "SIGNAL_DATABASE_URL": "postgresql://db.example.org/signal",
        "SIGNAL_DAGSTER_DATABASE_URL": "postgresql+psycopg2://db.example.org/dagster",
        "SIGNAL_HOME": "/var/lib/somewhere",
        "SIGNAL_LANDING_DIR": "/var/spool/landing",
        "SIGNAL_RETENTION_DAYS": "7",
        "SIGNAL_DAGSTER_RETENTION_DAYS": "0",
        "SIGNAL_START_DATE": "2026-01-31",
        "SIGNAL_CATALOGUE": "/etc/catalogue.yaml",
        "SIGNAL_ROLLUP_ENGINE": "postgres",
        "SIGNAL_DISTRIBUTED": "citus",
        "SIGNAL_SHARDS": "12",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert ingest_secret(settings) == SECRET.encode()
    assert settings.production
    assert settings.database_url == values["SIGNAL_DATABASE_URL"]
    assert settings.dagster_database_url == values["SIGNAL_DAGSTER_DATABASE_URL"]
    assert (settings.home_path, settings.landing_path) == (
        Path("/var/lib/somewhere"),
        Path("/var/spool/landing"),
    )
    assert (settings.retention_days, settings.start_date) == (7, date(2026, 1, 31))
    assert settings.dagster_retention_days == 0
    assert (settings.catalogue, settings.rollup_engine) == (Path("/etc/catalogue.yaml"), "postgres")
    assert (settings.distributed, settings.shards) == ("citus", 12)


def test_every_folder_and_file_can_be_written_from_the_users_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HOME", "LANDING_DIR", "CATALOGUE", "SPOOL_DIR"):
        monkeypatch.setenv(f"SIGNAL_{name}", f"~/{name}")
    settings = load_settings()
    assert (settings.home_path, settings.landing_path, settings.catalogue, settings.spool_dir) == (
        tmp_path / "HOME",
        tmp_path / "LANDING_DIR",
        tmp_path / "CATALOGUE",
        tmp_path / "SPOOL_DIR",
    )


@pytest.mark.parametrize("name", ["SIGNAL_ADMIN_CLAIM", "SIGNAL_ANALYST_CLAIM"])
@pytest.mark.parametrize("rule", ["role=", "role= ", "=admin", "="])
def test_a_rule_for_a_claim_without_a_name_or_a_value_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, rule: str
) -> None:
    """Such a rule would give the role to everybody whose claim is empty."""
    monkeypatch.setenv(name, rule)
    with pytest.raises(SettingsError, match=f"^{name}: ") as raised:
        load_settings()
    assert str(raised.value) == f"{name}: is not NAME or NAME=VALUE: a part of it is empty"


@pytest.mark.parametrize("rule", ["role", "role=admin", "role=a=b"])
def test_a_whole_rule_for_a_claim_is_taken(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.setenv("SIGNAL_ADMIN_CLAIM", rule)
    assert load_settings().admin_claim == rule


def test_the_example_file_names_every_variable_and_no_other() -> None:
    example = set(re.findall(r"(?m)^([A-Z_]+)=$", (ROOT / ".env.example").read_text()))
    read = {
        str(field.validation_alias or f"SIGNAL_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }
    assert read == example


def test_an_env_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "SIGNAL_RETENTION_DAYS=30\nSIGNAL_HOME=here\nSIGNAL_ENV=\nOTHER=1\n"
    )
    monkeypatch.setenv("SIGNAL_HOME", "there")
    settings = load_settings()
    assert (settings.retention_days, settings.home, settings.env) == (30, Path("there"), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIGNAL_RETENTION_DAYS", "6"),
        ("SIGNAL_DAGSTER_RETENTION_DAYS", "-1"),
        ("SIGNAL_RETENTION_DAYS", "many-of-them"),
        ("SIGNAL_ENV", "staging-server"),
        ("SIGNAL_START_DATE", "2026-02-30"),
        ("SIGNAL_ROLLUP_ENGINE", "spark-cluster"),
        ("SIGNAL_DISTRIBUTED", "postgres_fdw"),
        ("SIGNAL_SHARDS", "0"),
        ("SIGNAL_SHARDS", "-4"),
        ("SIGNAL_SHARDS", "64001"),
        ("SIGNAL_SHARDS", "a-dozen"),
    ],
)
def test_a_wrong_value_is_named_but_not_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).startswith(f"{name}: ")
    assert "\n" not in str(raised.value)
    assert len(value) < 2 or value not in str(raised.value)


def test_a_server_needs_an_explicit_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNAL_DATABASE_URL", "postgresql://someone:hidden@db.example.org/signal")
    with pytest.raises(SettingsError, match="SIGNAL_ENV must be set") as raised:
        load_settings()
    assert "hidden" not in str(raised.value)


def test_the_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALS_SALT_SECRET", SECRET)
    settings = load_settings()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_no_setting_is_blank(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    name = str(Settings.model_fields[field].validation_alias or f"SIGNAL_{field.upper()}")
    monkeypatch.setenv(name, " \t  ")
    with pytest.raises(SettingsError, match=f"^{name}: is blank"):
        load_settings()


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_setting_that_is_not_utf8_is_one_line(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    name = str(Settings.model_fields[field].validation_alias or f"SIGNAL_{field.upper()}")
    monkeypatch.setenv(name, os.fsdecode(b"/caf\xe9-hidden"))
    if field in ("home", "landing_dir", "catalogue", "spool_dir"):
        load_settings()  # A folder can have this name.
        return
    with pytest.raises(SettingsError, match=f"^{name}: is not UTF-8 text") as raised:
        load_settings()
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("SIGNAL_DATABASE_URL", f"postgresql://u:hidden@{place}/d")
            for place in ("h:port", "h:0", "h:65536", "[h", "h:-1")
        ],
        ("SIGNAL_DATABASE_URL", "mysql://u:hidden@h/d"),
        ("SIGNAL_DATABASE_URL", "postgresql+psycopg2://u:hidden@h/d"),
        ("SIGNAL_DATABASE_URL", "host=h port=hidden"),
        ("SIGNAL_DATABASE_URL", "hidden"),
        *[
            (f"SIGNAL_{name}", text)
            for name in ("DATABASE_URL", "DAGSTER_DATABASE_URL")
            for text in (
                "postgresql://u:hidden@db..hidden/d",
                f"postgresql://u:hidden@{'h' * 64}/d",
                "postgresql://u:hidden@h\u202e/d",
                "host=/tmp,db..hidden dbname=d",
                "postgresql://u:hidden%ff@h/d",
            )
        ],
        ("SIGNAL_DAGSTER_DATABASE_URL", "postgresql+psycopg2://u:hidden@h:port/d"),
        ("SIGNAL_DAGSTER_DATABASE_URL", "postgresql+hidden://u@h/d"),
        ("SIGNAL_DAGSTER_DATABASE_URL", "postgresql+psycopg://u:hidden@h/d"),
        ("SIGNAL_DAGSTER_DATABASE_URL", "postgresql://u:hidden@h:port/d"),
        ("SIGNAL_DAGSTER_DATABASE_URL", "sqlite:///hidden"),
        ("SIGNAL_RATE_LIMIT_URL", "redis://:hidden@h:port/0"),
        ("SIGNAL_RATE_LIMIT_URL", "redis://:hidden@[h/0"),
        ("SIGNAL_RETENTION_DAYS", "1000000000"),
        ("SIGNAL_START_DATE", "0001-01-01"),
        ("SIGNAL_API_KEYS", f"hidden:{hashlib.sha256(b'').hexdigest()}"),
        ("SIGNAL_HOME", "~no-such-user-of-hidden/home"),
    ],
)
def test_what_a_library_would_stumble_over_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "development")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: ") as raised:
        load_settings()
    for part in ("hidden", "0xff", "\u202e", "\n"):
        assert part not in str(raised.value)


def test_a_command_says_it_in_one_line(tmp_path: Path) -> None:
    said = run_command(
        "status",
        cwd=tmp_path,
        SIGNAL_ENV="development",
        SIGNAL_DATABASE_URL="postgresql://h:port/d",
    )
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert said.stderr.startswith("error: SIGNAL_DATABASE_URL: its port is not a number")


@pytest.mark.parametrize(
    "url",
    [
        "host=/tmp dbname=signal",
        "postgresql://a,b/d",
        "postgresql://u@h:1,h:2/d",
        "service=x",
        "postgresql://[fe80::1%25eth0]/d",
        "postgresql://db.example.org./d",
        "postgresql://b\u00fccher.example/d",
        f"host=/tmp/{'a..b' * 20}",
        "host=@abstract..socket",
    ],
)
def test_other_ways_to_write_a_database_are_taken(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "development")
    monkeypatch.setenv("SIGNAL_DATABASE_URL", url)
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", url)
    settings = load_settings()
    assert (settings.database_url, settings.dagster_database_url) == (url, url)
    assert url not in f"{settings!r} {settings}"


def test_an_env_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"SIGNAL_HMAC_SECRET=caf\xe9\n")
    (tmp_path / ".env").chmod(0o600)
    said = run_command("status", cwd=tmp_path)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert ".env in this folder is not UTF-8" in said.stderr


def test_an_env_file_that_others_can_read_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SIGNAL_RETENTION_DAYS=30\n")
    for mode, told in ((0o640, 1), (0o602, 1), (0o600, 0)):
        file.chmod(mode)
        said = run_command("catalogue", "--typescript", cwd=tmp_path)
        assert said.returncode == 0
        assert said.stderr.count("chmod 600 .env") == said.stderr.count("\n") == told
        assert "chmod" not in said.stdout


@pytest.mark.parametrize(
    ("network", "trusted", "other"),
    [
        ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
        ("::ffff:10.0.0.7", "10.0.0.7", "10.0.0.8"),
        ("::ffff:0:0/96", "192.0.2.1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::1", "192.0.2.1"),
    ],
)
def test_a_network_of_mapped_addresses_is_the_network_of_ipv4(
    monkeypatch: pytest.MonkeyPatch, network: str, trusted: str, other: str
) -> None:
    monkeypatch.setenv("SIGNAL_TRUSTED_PROXIES", network)
    proxies = load_settings().trusted_proxies
    assert is_trusted(trusted, proxies)
    assert not is_trusted(other, proxies)


@pytest.mark.parametrize("name", ["SIGNAL_HOME", "SIGNAL_LANDING_DIR"])
def test_a_loop_of_links_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv(name, "loop")
    settings = load_settings()
    with pytest.raises(SettingsError, match=f"^{name}: is a loop of symbolic links"):
        _ = settings.landing_path


def test_an_env_file_of_another_user_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its owner can read and change it, whatever its mode."""
    file = tmp_path / ".env"
    file.touch(0o600)
    assert env_file_warning() is None
    if os.geteuid() == 0:
        os.chown(file, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert "another user owns .env" in str(env_file_warning())


def test_a_folder_of_dagster_that_is_relative_is_one_line(tmp_path: Path) -> None:
    said = run_command(
        "backfill", "--from", "2026-01-01", "--to", "2026-01-01", cwd=tmp_path, DAGSTER_HOME="here"
    )
    assert (said.returncode, "Traceback" in said.stderr) == (1, False)
