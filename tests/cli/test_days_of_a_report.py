"""The days that a report's options name, and how the help is grouped."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from support.commands import Signal, error_of
from support.days import yesterday
from typer.testing import CliRunner

from signal_pipeline.cli.commands import PANELS, app
from signal_pipeline.cli.options import chosen_days, parse_span
from signal_pipeline.errors import UsageError
from signal_pipeline.settings import MAX_DAYS

TODAY = date(2026, 3, 1)


@given(st.integers(1, MAX_DAYS))
def test_the_last_days_end_yesterday(days: int) -> None:
    first, last = chosen_days(None, None, parse_span(f"{days}d"), TODAY)
    assert last == TODAY - timedelta(days=1)
    assert (last - first).days + 1 == days


def test_a_week_has_seven_days() -> None:
    assert parse_span("4w") == parse_span("28d") == 28
    assert chosen_days(None, None, 1, TODAY) == (date(2026, 2, 28), date(2026, 2, 28))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "30",
            "d",
            "30 d",
            " 30d",
            "30D",
            "-1d",
            "+1d",
            "1.5d",
            "3m",
            "1y",
            "0d",
            "00w",
            "٣d",
        ),
        *("d30", "1d1w", "30d\n", f"{MAX_DAYS + 1}d", f"{MAX_DAYS}w", "9" * 5_000 + "d"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_span_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="--last") as refusal:
        parse_span(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("first", "last", "span"),
    [
        *[(TODAY, TODAY, 1), (TODAY, None, 1), (None, TODAY, 1), (TODAY, None, None)],
        *[(None, TODAY, None), (None, None, None), (TODAY, TODAY - timedelta(days=1), None)],
    ],
)
def test_options_that_name_no_one_window_are_refused(
    first: date | None, last: date | None, span: int | None
) -> None:
    with pytest.raises(UsageError, match="--from"):
        chosen_days(first, last, span, TODAY)


@pytest.mark.embedded_only
def test_a_report_of_the_last_days_is_the_report_from_and_to(signal: Signal) -> None:
    last = yesterday()
    days = ("--from", last - timedelta(days=13), "--to", last)
    asked, named = signal("report", "app", "--last", "2w"), signal("report", "app", *days)
    assert asked.returncode == named.returncode == 0
    assert asked.stdout == named.stdout
    assert f"note: from {last - timedelta(days=13)} to {last} (UTC)" in asked.stderr
    both = signal("report", "app", "--last", "2w", *days)
    assert (both.returncode, "--last" in error_of(both)) == (2, True)


def test_the_help_has_every_command_in_a_panel() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    titles = [title for title in PANELS if title in shown]
    assert titles == list(PANELS)
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands) == sum(map(len, PANELS.values()))
    for name in commands:
        assert re.search(rf"(?m)^\W*{name}\b", shown)


@pytest.mark.embedded_only
def test_the_help_is_complete_without_rich(signal: Signal) -> None:
    shown = signal("--help", TYPER_USE_RICH="0").stdout
    assert shown.isascii()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"(?m)^  {name}\b", shown)
