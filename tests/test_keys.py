"""Keys: what production refuses, and what development generates."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.keys import audit_key, gateway_secret, ingest_secret
from signal_pipeline.settings import Settings, SettingsError, load_settings

SECRET = "a-secret-that-nobody-may-see-anywhere"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SIGNAL"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_production_has_no_stand_in_for_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "production")
    with pytest.raises(SettingsError, match="SIGNALS_SALT_SECRET is missing"):
        ingest_secret(load_settings())
    assert not (tmp_path / ".signal").exists()


def test_production_has_no_stand_in_for_the_audit_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGNAL_ENV", "production")
    with pytest.raises(SettingsError, match="SIGNAL_AUDIT_KEY is missing"):
        audit_key(load_settings())
    assert not (tmp_path / ".signal").exists()
    monkeypatch.setenv("SIGNAL_AUDIT_KEY", SECRET)
    assert audit_key(load_settings()) == SECRET.encode()


SECRETS = {
    "SIGNALS_SALT_SECRET": (ingest_secret, 32),
    "SIGNAL_AUDIT_KEY": (audit_key, 32),
    "SIGNAL_HMAC_SECRET": (gateway_secret, 16),
}
GUESSED = (
    *(
        "k" * 64,
        "0123" * 16,
        "changeme-changeme-changeme-changeme",
        "<put the secret of production here>",
    ),
    *("your-secret-key-of-at-least-32-bytes", "$(openssl rand -hex 32) $(openssl rand -hex 32)"),
    *("PLACEHOLDER-placeholder-PLACEHOLDER", "${SIGNAL_SECRET_OF_PRODUCTION_FROM_VAULT}"),
)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["short-abcdefgh", f"   abcdefg{' ' * 60}", *GUESSED])
def test_production_takes_no_secret_that_can_be_guessed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    read, _ = SECRETS[name]
    monkeypatch.setenv("SIGNAL_ENV", "production")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} .*openssl rand -hex 32") as raised:
        read(load_settings())
    assert value.strip() not in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.binary(min_size=32, max_size=64))
def test_production_takes_what_was_drawn_at_random(drawn: bytes) -> None:
    for text in (drawn.hex(), base64.b64encode(drawn).decode()):
        if len(set(text)) >= 8:  # hypothesis likes 32 times the same byte.
            for name, (read, _) in SECRETS.items():
                assert read(Settings(_env_file=None, env="production", **{_field(name): text}))  # type: ignore[arg-type]


def _field(variable: str) -> str:
    return variable.removeprefix("SIGNALS_").removeprefix("SIGNAL_").lower()


def test_development_makes_one_secret_for_all_that_ask_at_once(tmp_path: Path) -> None:
    settings = load_settings()
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: ingest_secret(settings), range(16)))
    assert len(made) == 1
    assert len(made.pop()) >= 32
    file = tmp_path / ".signal" / "salt-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / ".signal").iterdir()] == ["salt-secret"]
    assert ingest_secret(load_settings()) == file.read_bytes()
