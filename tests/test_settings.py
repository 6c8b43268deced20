"""Settings: names, defaults, what is refused, and the development secret."""

from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from signal_pipeline.settings import Settings, SettingsError, audit_key, load_settings, salt_secret

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
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert salt_secret(settings) == SECRET
    assert settings.production
    assert settings.database_url == values["SIGNAL_DATABASE_URL"]
    assert settings.dagster_database_url == values["SIGNAL_DAGSTER_DATABASE_URL"]
    assert (settings.home_path, settings.landing_path) == (Path("/var/lib/somewhere"), Path("/var/spool/landing"))
    assert (settings.retention_days, settings.start_date) == (7, date(2026, 1, 31))
    assert settings.dagster_retention_days == 0
    assert (settings.catalogue, settings.rollup_engine) == (Path("/etc/catalogue.yaml"), "postgres")


def test_the_example_file_names_every_variable_and_no_other() -> None:
    example = set(re.findall(r"(?m)^([A-Z_]+)=$", (ROOT / ".env.example").read_text()))
    read = {str(field.validation_alias or f"SIGNAL_{name.upper()}") for name, field in Settings.model_fields.items()}
    assert read == example


def test_an_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SIGNAL_RETENTION_DAYS=30\nSIGNAL_HOME=here\nSIGNAL_ENV=\nOTHER=1\n")
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
    ],
)
def test_a_wrong_value_is_named_but_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
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


def test_production_has_no_stand_in_for_the_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "production")
    with pytest.raises(SettingsError, match="SIGNALS_SALT_SECRET is missing"):
        salt_secret(load_settings())
    assert not (tmp_path / ".signal").exists()


def test_production_has_no_stand_in_for_the_audit_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "production")
    with pytest.raises(SettingsError, match="SIGNAL_AUDIT_KEY is missing"):
        audit_key(load_settings())
    assert not (tmp_path / ".signal").exists()
    monkeypatch.setenv("SIGNAL_AUDIT_KEY", "k" * 32)
    assert audit_key(load_settings()) == b"k" * 32


def test_development_makes_one_secret_for_all_that_ask_at_once(tmp_path: Path) -> None:
    settings = load_settings()
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: salt_secret(settings), range(16)))
    assert len(made) == 1
    assert len(made.pop().encode()) >= 32
    file = tmp_path / ".signal" / "salt-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / ".signal").iterdir()] == ["salt-secret"]
    assert salt_secret(load_settings()) == file.read_text()
