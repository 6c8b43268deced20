"""`signal-pipeline alert-test`, and its output where alerts are wanted and cannot be sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import error_of, last_json, run_command
from support.inbox import Inbox, open_inbox

HIDDEN = ("Kw27", "Kw28", "127.0.0.1")


def test_every_address_gets_a_test_message(tmp_path: Path) -> None:
    with open_inbox() as one, open_inbox() as other:
        done = run_command(
            "alert-test", "--json", cwd=tmp_path, SIGNAL_ALERT_URLS=f"{one.url} {other.url}"
        )
        assert done.returncode == 0, done.stderr
        assert last_json(done.stdout) == {"sent": 2, "failed": []}
        assert [box.titles() for box in (one, other)] == [["Signal: test"]] * 2


@pytest.mark.parametrize("fault", ["refused", "nobody listens"])
def test_an_address_that_takes_nothing_is_named_by_its_place(tmp_path: Path, fault: str) -> None:
    with open_inbox() as one:
        bad = _closed(one) if fault == "refused" else "json://127.0.0.1:1/secret-path-Kw27"
        with open_inbox() as good:
            done = run_command(
                "alert-test", "--json", cwd=tmp_path, SIGNAL_ALERT_URLS=f"{good.url},{bad}"
            )
            assert good.titles() == ["Signal: test"]
    assert done.returncode == 1
    assert last_json(done.stdout) == {"sent": 1, "failed": ["address 2 of 2 (JSON)"]}
    assert "address 2 of 2 (JSON): not taken" in done.stderr
    assert "1 of 2 address(es) took no message" in error_of(done.stderr)
    for hidden in HIDDEN:
        assert hidden not in done.stdout + done.stderr


def _closed(box: Inbox) -> str:
    box.closed = True
    return box.url


WRONG = {
    "unknown": ("alert-test", "json://127.0.0.1/Kw27, nonsense://Kw27/Kw28", "address 2 of 2"),
    "no address at all": ("alert-test", "Kw27 at 127.0.0.1", "address 1 of 1"),
    "one that lacks a part": ("dev", "slack://Kw27", "address 1 of 1"),
}


@pytest.mark.parametrize(("command", "urls", "place"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_address_is_refused_at_the_start_without_showing_it(
    tmp_path: Path, command: str, urls: str, place: str
) -> None:
    done = run_command(
        command, cwd=tmp_path, SIGNAL_ALERT_URLS=urls, SIGNAL_HOME=str(tmp_path / "home")
    )
    assert done.returncode == 1
    assert f"SIGNAL_ALERT_URLS: {place} is not one that Apprise understands" in error_of(
        done.stderr
    )
    assert not (tmp_path / "home").exists()
    for hidden in HIDDEN:
        assert hidden not in done.stdout + done.stderr


def test_nobody_to_tell_is_an_error_of_the_test(tmp_path: Path) -> None:
    done = run_command("alert-test", cwd=tmp_path, SIGNAL_ALERT_URLS=None)
    assert done.returncode == 1
    assert "SIGNAL_ALERT_URLS is not set" in error_of(done.stderr)


WITHOUT_THE_EXTRA = "import sys; sys.modules['apprise'] = None; "
COMMAND = WITHOUT_THE_EXTRA + "from signal_pipeline.cli import main; main()"
LOCATION = (
    WITHOUT_THE_EXTRA + "from signal_pipeline.errors import SignalError\nfrom"
    " signal_pipeline.definitions import defs\ntry:\n    defs()\nexcept SignalError as error:\n    sys.exit(f'error: {error}')"
)


@pytest.mark.parametrize(
    ("arguments", "program"), [(["alert-test"], COMMAND), (["dev"], COMMAND), ([], LOCATION)]
)
def test_a_missing_extra_is_one_error_at_the_start_of_what_needs_it(
    tmp_path: Path, arguments: list[str], program: str
) -> None:
    settings = {"SIGNAL_ALERT_URLS": "json://127.0.0.1/Kw27", "SIGNAL_START_DATE": "2026-01-01"}
    done = run_command(
        *arguments, cwd=tmp_path, program=program, SIGNAL_HOME=str(tmp_path / "home"), **settings
    )
    assert done.returncode == 1
    assert "SIGNAL_ALERT_URLS is set, but Apprise" in error_of(done.stderr)
    assert "install signal-pipeline[alerts]" in error_of(done.stderr)
    assert "Kw27" not in done.stderr
    other = run_command("schema", cwd=tmp_path, program=COMMAND, **settings)
    assert other.returncode == 0, other.stderr
