"""Text from a person, a file or the database is shown as it is.

None of it acts on the terminal.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.days import today

from signal_pipeline.catalogue.load import App, Catalogue, EntityType, EventType
from signal_pipeline.cli import console, show
from signal_pipeline.cli.demo_summary import show_summary
from signal_pipeline.cli.show_catalogue import show_catalogue
from signal_pipeline.dagster.backfill import BackfillPlan, BackfillResult
from signal_pipeline.days.freshness import DayStatus
from signal_pipeline.days.receipts import Receipt
from signal_pipeline.ingest.pipeline import Counts
from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy.retention import PurgeResult
from signal_pipeline.reports.event_type_usage import Usage
from signal_pipeline.reports.report import Report
from signal_pipeline.rollups.difference import Difference
from signal_pipeline.texts.printable import PrintableFormatter, printable

DAY, AT = date(2026, 5, 1), datetime(2026, 5, 2, tzinfo=UTC)
HOSTILE = {
    "a device": "disk lost [/dev/sdb]",
    "brackets": "rows[final].ndjson",
    "styles": "[bold red]loud[/bold red]",
    "a link": "[link=https://example.org]here[/link]",
    "an emoji's name": ":warning: :smile:",
    "backslashes": "C:\\[dir]\\",
    "a colour": "\x1b[31mred\x1b[0m",
    "a title": "\x1b]0;owned\x07",
    "C1": "\x9b2Jgone",
    "a carriage return": "done\rerror: lost",
    "two lines": "one\nerror: two",
    "a direction": "/a\u202egpj.exe",
    "unseen": "a\u200bb\ufeffc\u2028d",
    "no UTF-8": "no\udcff.ndjson",
    "wide": "日本語 é 👍",
}


def show_a_catalogue(text: str) -> None:
    fields = {"type": "object", "properties": {text: {}}}
    kind = EventType(text, text, "a purpose", text, text, False, fields, False)
    catalogue = Catalogue(
        1,
        {"a": App(text, "example.org", False)},
        {"k": kind},
        {"e": EntityType(text, "f", True)},
        {},
    )
    show_catalogue(catalogue, Usage({}, [text]), DAY)


SHOWS: dict[str, Callable[[str], None]] = {
    "a line": console.say,
    "an error": console.complain,
    "a bold line": lambda text: console.say(text, to=console.out, bold=True),
    "a reason of the books": lambda text: show.show_counts(Counts(1, 0, 0, Counter({text: 1}))),
    "a plan's refusal": lambda text: show.show_plan(BackfillPlan([], {DAY: text}, {}), None),
    "a rollup": lambda text: show.show_plan(
        BackfillPlan([DAY], {}, {}), [Difference(DAY, text, 0, 1, 1, 0, 0, 0, 9)]
    ),
    "a build's refusal": lambda text: show.show_backfill(BackfillResult(refused={DAY: text})),
    "why a day is kept": lambda text: show.show_purged(PurgeResult(False, [DAY], {DAY: text})),
    "a state": lambda text: show.show_days(
        [DayStatus(DAY, 1, text, False, AT, 3, {text: "fresh"})], {}, DAY
    ),  # type: ignore[arg-type]
    "a receipt": lambda text: show.show_receipts(
        [Receipt(DAY, AT, 1, 1, AT, AT, 1, 9, True, text)]
    ),
    "the catalogue": show_a_catalogue,
    # No column can hold half of a surrogate pair, but a note can.
    "a report": lambda text: show.show_report(
        Report(["route"], [{"route": text.replace("\udcff", "")}], [text], [["fresh"]]), "table"
    ),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("show", SHOWS.values(), ids=SHOWS.keys())
def test_a_text_is_shown_as_it_is(
    show: Callable[[str], None], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(text)
    shown = "".join(capsys.readouterr())
    assert printable(text) in shown
    assert shown.replace("\n", "").isprintable()


def test_an_error_is_one_line_and_keeps_every_blank(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain("cannot write a  b.ndjson\nnow")
    assert capsys.readouterr().err == "error: cannot write a  b.ndjson\\nnow\n"


def test_a_long_text_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    route = "/" + "a" * 255
    console.print_table(("route", "events"), [(route, 1)])
    console.say(route * 4)
    folded = capsys.readouterr().err
    assert folded.count("a") == 255 * 5
    assert "…" not in folded


@given(st.text())
def test_what_is_printable_stays_and_the_rest_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text
    assert printable("\x1b[31m\n") == "\\x1b[31m\\n"


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_json_reads_back_as_it_was_and_is_printable(text: str) -> None:
    kept, sys.stdout = sys.stdout, io.StringIO()
    try:
        console.print_json({"text": text})
        line = sys.stdout.getvalue()
    finally:
        sys.stdout = kept
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize(
    "text", [text for name, text in HOSTILE.items() if name != "no UTF-8"]
)  # No column can hold it.
def test_a_csv_is_data_in_a_pipe_and_printable_on_a_terminal(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(["route", "events"], [{"route": text, "events": 1}], [], [["fresh"]])
    show.show_report(report, "csv")
    piped = capsys.readouterr().out
    assert text in piped
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show.show_report(report, "csv")
    assert capsys.readouterr().out == f"route,events,state\n{printable(text)},1,fresh\n"


@pytest.mark.parametrize(
    "name",
    ["a[/b].ndjson", "[red]a[/red]", ":smile:", "a\x1b]0;owned\x07", "{task.total}", "a\u202eb"],
)
def test_a_progress_bar_shows_the_name_of_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name if "/" not in name else tmp_path / name.replace("/", "")
    file.write_bytes(b"{}\n")
    screen = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=200))
    with console.open_with_progress(file) as (stream, progress):
        progress(len(stream.read()))
    with console.progress_over_days(1, name) as done:
        done(1)
    assert printable(file.name) in screen.getvalue()
    assert printable(name) in screen.getvalue()
    assert not re.search("\x1b\\]0|\x07|\u202e", screen.getvalue())


def test_a_log_line_is_printable() -> None:
    record = logging.LogRecord("signal", logging.WARNING, "", 0, "file %s", ("a\x1b[2J\n",), None)
    assert (
        PrintableFormatter("%(levelname)s %(message)s").format(record)
        == "WARNING file a\\x1b[2J\\n"
    )


@pytest.mark.embedded_only
def test_the_demos_summary_shows_the_databases_texts(
    connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    day, text = today(), "[/x]\x1b[2J:smile:"
    connection.execute("select signal.ensure_day(%s)", [day])
    connection.execute(
        "insert into signal.books values (%s, 'cms', 'x', 'dropped', %s, 3)", [day, text]
    )
    insert = "insert into signal.{} values (%s, %s, '(all)', {} 1, 1, 1)"
    connection.execute(insert.format("daily_app_activity", ""), [day, text])  # type: ignore[arg-type]
    connection.execute(insert.format("daily_route_activity", "%s,"), [day, "cms", text])  # type: ignore[arg-type]
    show_summary(connection, day, day, Path("page.html"))
    shown = capsys.readouterr().out
    assert shown.count(printable(text)) == 3
    assert shown.replace("\n", "").isprintable()


def test_there_is_one_way_to_print() -> None:
    root = Path(console.__file__).parent
    for path in root.rglob("*.py"):
        code = path.read_text()
        if path.name != "console.py":
            assert not re.search(
                r"(?m)^\s*(import|from) rich\b|\b(out|err)\.print\(|typer\.echo", code
            ), path
        assert not re.search(r"(?m)^\s*print\(", code), path
