"""What the shell completes: the tests ask for each completion as the shell's own script does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import run_in

from signal_pipeline.reports.dimensions import KEYS
from signal_pipeline.rollups.models import load_models

PROGRAM = Path(sys.executable).with_name("signal-pipeline")


def complete(*words: str, cwd: Path, script: str = "bash", **changes: str) -> list[str]:
    """The completions of the last word; nothing else is printed, on stderr neither."""
    asked = {
        "bash": {
            "COMP_WORDS": " ".join(["signal-pipeline", *words]),
            "COMP_CWORD": f"{len(words)}",
        },
        "zsh": {"_TYPER_COMPLETE_ARGS": " ".join(["signal-pipeline", *words])},
    }[script]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SIGNAL")}
    script_of = {"_SIGNAL_PIPELINE_COMPLETE": f"complete_{script}"}
    done = run_in({**plain, **script_of, **asked, **changes}, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["re"], ["report", "retention"]),
        (["report", "--la"], ["--last"]),
        (["report", "--format", ""], ["table", "csv", "json", "html"]),
        (["report", "--by", "w"], ["week"]),
        (["report", "d"], ["device"]),
        (["report", "--group-by", "app", "d"], []),
        (["report", "--app", "v"], ["videos-admin"]),
        (["report", "app", "--event-type", "ai_"], ["ai_translation_language_picked"]),
        (["report", "--group-by", "app,entity"], ["app,entity-type", "app,entity"]),
        (["report", "--group-by", "entity,entity"], ["entity,entity-type"]),
        (["report", "--where", "brow"], ["browser="]),
        (["report", "--last", "not-a-span", "--by", "t"], ["total"]),
        (["backfill", "--rollup", "daily_r"], ["daily_route_activity"]),
    ],
    ids=str,
)
def test_a_word_is_completed(words: list[str], completions: list[str], tmp_path: Path) -> None:
    assert complete(*words, cwd=tmp_path) == completions


def test_every_key_and_every_rollup_is_offered(tmp_path: Path) -> None:
    assert complete("report", "--group-by", "", cwd=tmp_path) == list(KEYS)
    assert complete("backfill", "--rollup", "", cwd=tmp_path) == list(load_models())


def test_a_closed_list_is_offered_as_filters(tmp_path: Path) -> None:
    (text,) = complete("report", "--where", "entity-type=j", cwd=tmp_path, script="zsh")
    assert '"entity-type=journey"' in text


def test_a_wrong_setting_and_an_open_env_file_are_no_news_for_a_key_press(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SIGNAL_RETENTION_DAYS=forever\n")
    (tmp_path / ".env").chmod(0o644)
    assert complete("report", "--app", "", cwd=tmp_path) == []
    assert complete("stat", cwd=tmp_path) == ["status"]
    (tmp_path / ".env").write_text("SIGNAL_CATALOGUE=none.yaml\n")
    assert complete("report", "--app", "", cwd=tmp_path) == []


def test_a_completion_starts_no_database(tmp_path: Path) -> None:
    home = tmp_path / "home"
    complete("report", "--app", "", cwd=tmp_path, SIGNAL_HOME=str(home))
    assert not home.exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_the_printed_script_completes_in_a_real_bash(tmp_path: Path) -> None:
    script = f"""
        export PATH={PROGRAM.parent}:$PATH
        eval "$(signal-pipeline --show-completion bash)"
        complete -p signal-pipeline
        COMP_WORDS=(signal-pipeline rot); COMP_CWORD=1
        _signal_pipeline_completion signal-pipeline
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "rotate-secret"
    assert done.stderr == ""
