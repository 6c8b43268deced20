"""Ingest, from NDJSON to committed rows: against COPY and other inserts, and with a history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

from bench.measure import Cost, median
from bench.peers import copy_unlogged, executemany, orm_rows, plain_table
from bench.run import Bench
from bench.server import HISTORY_DAYS, Server, database_of, ingest_at_end_of
from bench.table import Row, faster, limit
from bench.traffic import YESTERDAY, fill_day, fill_history, lines_of
from signal_pipeline.events.event import AcceptedEvent
from signal_pipeline.events.user_agents import clear_cache, parse_user_agent
from signal_pipeline.ingest.event_rows import copy_data, event_rows
from signal_pipeline.settings import Settings


def measure(bench: Bench) -> list[Row]:
    """Measure the ingest of a file into an empty day, and peers on the events that it stored."""
    file = lines_of(bench.folder, bench.events)
    with bench.server.database() as settings:
        # This loads everything that is loaded only once.
        fill_day(settings, lines_of(bench.folder, 5_000, seed=9), YESTERDAY)
    costs = []
    for _ in range(bench.repeats):
        with bench.server.database() as settings:
            costs.append(cost_of_stored(bench.server, settings, file))
    signal = median(costs)
    with bench.server.database() as settings:
        events = _events(settings, file.read_bytes().splitlines()[: max(2_000, bench.events // 10)])
        rows = [
            *_copies(bench, settings, signal, fill_day(settings, file, YESTERDAY)),
            *_inserts(bench, settings, signal, events),
        ]
    return [*rows, *_stages(file.read_bytes().splitlines()[:50_000]), *_user_agents()]


def cost_of_stored(server: Server, settings: Settings, file: Path) -> Cost:
    """Ingest a file of yesterday; return the cost of each stored event.

    Duplicates and drops cost time too, but a peer gets only the events that were stored.
    """
    stored: list[int] = []
    server.checkpoint()
    cost = server.watch.cost(lambda: stored.append(fill_day(settings, file, YESTERDAY)))
    return per(cost, stored[0])


def per(cost: Cost, events: int) -> Cost:
    """Return the cost of one event, given the cost of `events` events."""
    return Cost(cost.wall / events, cost.client / events, cost.server / events)


def _events(settings: Settings, lines: Sequence[bytes]) -> list[AcceptedEvent]:
    """Return the acceptable events of some lines, each id once."""
    ingest = ingest_at_end_of(settings, YESTERDAY)
    now = ingest._now_and_forget_past_days()
    checked = (ingest.acceptance.check_line(line, now) for line in lines)
    every = {item.client_event_id: item for item in checked if isinstance(item, AcceptedEvent)}
    ingest.close()
    return list(every.values())


def _copies(bench: Bench, settings: Settings, signal: Cost, events: int) -> list[Row]:
    rows = []
    forms: tuple[tuple[Literal["text", "binary"], float | None], ...] = (
        ("text", 0.15),
        ("binary", None),
    )
    with database_of(settings).connect() as connection:
        for form, target in forms:
            path = bench.folder / f"rows.{form}"
            copy_unlogged.write_rows(connection, path, form)
            peer = per(bench.median(lambda: copy_unlogged.copy_in(connection, path, form)), events)  # noqa: B023
            path.unlink()
            what = (
                "ingest, file to committed rows"
                if target
                else "the same, against COPY's binary format"
            )
            name = f"COPY ({form}) of the stored rows, into an unlogged table without indexes"
            rows.append(faster(what, signal, name, peer, at_least=target, text="event"))
    return rows


def _inserts(
    bench: Bench, settings: Settings, signal: Cost, events: Sequence[AcceptedEvent]
) -> list[Row]:
    url = settings.database_url or ""
    engine = orm_rows.open_engine(url)
    few = events[: max(500, bench.events // 1000)]

    def cost_per_event(
        insert: Callable[[Sequence[AcceptedEvent]], object], batch: Sequence[AcceptedEvent]
    ) -> Cost:
        return per(bench.median(lambda: insert(batch), lambda: orm_rows.empty(engine)), len(batch))

    single = cost_per_event(lambda batch: orm_rows.insert(engine, batch), few)
    core = cost_per_event(lambda batch: executemany.with_sqlalchemy(engine, batch), events)
    plain = cost_per_event(lambda batch: executemany.with_psycopg(url, batch), events)
    engine.dispose()
    return [
        faster("ingest, against one INSERT and commit per event", signal, "ORM, INSERT + commit per event", single, at_least=100, text="event"),
        faster("ingest, against bulk inserts", signal, "SQLAlchemy executemany, one indexed table", core, text="event"),
        faster("ingest, against bulk inserts", signal, "psycopg executemany, one indexed table", plain, text="event"),
    ]  # fmt: skip


def _stages(lines: Sequence[bytes]) -> list[Row]:
    """Measure the CPU of the client's stages, per event."""
    import msgspec

    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.events.acceptance import Acceptance
    from signal_pipeline.events.event import IncomingEvent
    from signal_pipeline.ingest.pipeline import utc_now

    decode = msgspec.json.Decoder(IncomingEvent).decode
    good = []
    for line in lines:
        try:
            good.append((line, decode(line)))
        except msgspec.MsgspecError:
            continue
    acceptance = Acceptance(
        load_catalogue(None), bytes(32), YESTERDAY - timedelta(days=1), HISTORY_DAYS
    )
    now = utc_now()
    lines = [line for line, _ in good]
    whole = min(_timed(lambda: acceptance.check_lines(lines, now)) for _ in range(3)) / len(lines)
    decoding = _each(decode, lines)
    events = [
        item for _, event in good if isinstance(item := acceptance.check(event, now), AcceptedEvent)
    ]
    encoding = min(_timed(lambda: event_rows(events)) for _ in range(3)) / len(events)
    return [
        limit("stage of ingest: decode a line", decoding * 1e6, "µs CPU"),
        limit(
            "stage of ingest: every check, the hash and the buckets",
            (whole - decoding) * 1e6,
            "µs CPU",
        ),
        limit("stage of ingest: rows in COPY's format", encoding * 1e6, "µs CPU"),
    ]


def _user_agents() -> list[Row]:
    text = (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/1{}.0.{}.0 Safari/537.36"
    )
    agents = [text.format(n % 60, n) for n in range(3_000)]
    parse_user_agent(agents[0])
    new = []
    for _ in range(3):
        clear_cache()
        new.append(_each(parse_user_agent, agents, 1))
    return [
        limit("user agent to buckets, new", sorted(new)[1] * 1e6, "µs CPU", 40),
        limit("user agent to buckets, seen", _each(parse_user_agent, agents) * 1e6, "µs CPU", 2),
    ]


def _each(function: Callable[..., object], items: Sequence[object], repeats: int = 3) -> float:
    """Return CPU seconds per item.

    It is the least of some repetitions, because disturbances only add time.
    """
    return min(_timed(lambda: _apply(function, items)) for _ in range(repeats)) / len(items)


def _apply(function: Callable[..., object], items: Iterable[object]) -> None:
    for item in items:
        function(item)


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure_history(bench: Bench) -> list[Row]:
    """Ingest the same file into a database with one day and into one with half a year.

    A table that is not partitioned is loaded too, when it is empty and when it holds the history.
    """
    from bench.backfill import measure_in

    per_day = bench.events // 20
    with bench.server.database() as young, bench.server.database() as old:
        rows = [_flatness(bench, young, old, random_ids=False)]
        events = _events(
            old, lines_of(bench.folder, bench.events // 5, seed=20).read_bytes().splitlines()
        )
        plain = [
            _plain(bench, settings, events, with_history=full)
            for settings, full in ((young, False), (old, True))
        ]
        what = "bulk load into one plain table that holds that history"
        rows.append(
            faster(what, plain[1], "the same, but the table is empty", plain[0], text="event")
        )
        backfill = measure_in(bench, old, per_day)
    with bench.server.database() as young, bench.server.database() as old:
        rows.insert(1, _flatness(bench, young, old, random_ids=True))
    return [*rows, *backfill]


def _flatness(bench: Bench, young: Settings, old: Settings, *, random_ids: bool) -> Row:
    """Fill both databases, one with half a year, then ingest into each in turn."""
    per_day = bench.events // 20
    for settings in (young, old):
        first = lines_of(bench.folder, per_day + per_day // 8, seed=2, random_ids=random_ids)
        fill_day(settings, first, YESTERDAY)
    fill_history(old, per_day, random_ids=random_ids)
    costs: dict[str, list[Cost]] = {"young": [], "old": []}
    for turn in range(bench.repeats):
        file = lines_of(bench.folder, bench.events // 5, seed=10 + turn, random_ids=random_ids)
        for name, settings in (("young", young), ("old", old)):
            costs[name].append(cost_of_stored(bench.server, settings, file))
    with database_of(old).connect() as connection:
        row = connection.execute("select count(*) from signal.events").fetchone()
        assert row
    ids = "random ids" if random_ids else "ids of version 7"
    what = f"ingest with {HISTORY_DAYS} days of history ({row[0]:,} events), {ids}"
    return faster(
        what,
        median(costs["old"]),
        "with one day",
        median(costs["young"]),
        at_least=0.9,
        text="event",
    )


def _plain(
    bench: Bench, settings: Settings, events: Sequence[AcceptedEvent], *, with_history: bool
) -> Cost:
    size = max(1, min(10_000, len(events) // bench.repeats))  # So that each round has a batch.
    batches = [copy_data(event_rows(events[at : at + size])) for at in range(0, len(events), size)]
    share = len(batches) // bench.repeats
    with database_of(settings).connect() as connection:
        plain_table.make(connection, with_history=with_history)
        costs = []
        for at in range(0, share * bench.repeats, share):
            bench.server.checkpoint()
            part = batches[at : at + share]
            cost = bench.server.watch.cost(lambda: plain_table.load(connection, part))  # noqa: B023
            costs.append(per(cost, min(len(events), (at + share) * size) - at * size))
        connection.execute("drop table plain_table")
    return median(costs)
