"""What is wrong with Dagster's own folder or database is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from signal_pipeline.dagster.home import open_instance
from signal_pipeline.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", "")  # Restored at the end.
    monkeypatch.setenv("PGHOST", str(tmp_path))  # No server listens there.


def refusal(tmp_path: Path, url: str | None = None) -> str:
    """The one line that refuses to open the instance."""
    settings = Settings(_env_file=None, home=tmp_path, dagster_database_url=url)  # type: ignore[call-arg]
    with pytest.raises(SettingsError) as refused:
        open_instance(settings)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://u:hidden@127.0.0.1:1/d", "OperationalError"),
        ("postgresql+psycopg2://u:hidden@127.0.0.1:1/d", "OperationalError"),
        ("postgresql+psycopg2://u:hidden@127.0.0.1:1/d?hidden=1", "ProgrammingError"),
        ("postgresql+psycopg2://u:hidden@127.0.0.1:1/d?plugin=hidden", "NoSuchModuleError"),
        ("postgresql+psycopg2://hidden..example.org/d", "OperationalError"),
        ("postgresql+psycopg2:///hidden", "OperationalError"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_by_its_variable(
    tmp_path: Path, url: str, kind: str
) -> None:
    said = refusal(tmp_path, url)
    assert said.startswith("SIGNAL_DAGSTER_DATABASE_URL: ")
    assert said.endswith(f"({kind})")
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"# caf\xe9", "is not UTF-8 text"),
        (b"\nstorage: [}", "line 2: is not valid YAML"),
        (b"storage: \0", "is not valid YAML"),
        pytest.param(b"[" * 10_000, "is not valid YAML", id="deep"),
    ],
)
def test_a_file_that_dagster_cannot_read_is_named(tmp_path: Path, text: bytes, fault: str) -> None:
    file = tmp_path / "dagster" / "dagster.yaml"
    file.parent.mkdir()
    file.write_bytes(text + b"\n# SIGNAL_DAGSTER_DATABASE_URL\n")
    assert refusal(tmp_path).startswith(f"{file}: {fault}")
