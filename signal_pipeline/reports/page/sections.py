"""What a page says of each app: figures, each a chart with its table and its CSV.

Pure: facts in, figures out. `trust.py` says how far the figures can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.reports.page import charts, numbers
from signal_pipeline.reports.page.csv_links import csv_text
from signal_pipeline.reports.page.facts import Facts
from signal_pipeline.reports.page.figure import Figure, bars_label
from signal_pipeline.reports.page.split import LEFT_OUT, UNKNOWN, Count, DayFigure, Split
from signal_pipeline.reports.small_cells import LEAST_USERS
from signal_pipeline.texts.printable import printable

MOST_ROWS = 10
NOTHING = "No event in this window."
MACHINES = {"device": "On what: devices", "browser": "Browsers", "os": "Systems"}
PEOPLE = ("people, median day", "people, busiest day")
DAY_COLUMNS = ("users_median_day", "users_busiest_day")


@dataclass(frozen=True, slots=True)
class AppPart:
    """One app: the numbers at a glance, and its figures."""

    anchor: str
    name: str
    tiles: Sequence[tuple[str, str]]
    figures: Sequence[Figure]
    unused: Sequence[str]


def app_parts(facts: Facts, catalogue: Catalogue) -> list[AppPart]:
    """Return the apps that have an event in the window, those with the most events first."""
    split = facts.splits["app"]
    apps = sorted(split.apps(), key=lambda app: (-split.count(app).events, app))
    return [_app(facts, catalogue, app, f"app-{place}") for place, app in enumerate(apps, 1)]


def _app(facts: Facts, catalogue: Catalogue, app: str, anchor: str) -> AppPart:
    split = facts.splits["app"]
    figures = [_trend(facts, app, anchor), _features(facts, catalogue, app, anchor)]
    if "route" in facts.splits:
        figures.append(_by_value(facts, "route", "Where: routes", app, anchor))
    figures += _machines(facts, app, anchor)
    if facts.entity_days.days:
        figures.append(_entities(facts, app, anchor))
    unused = [
        name
        for name in _unused_features(split, catalogue, app)
        if (app, name) not in facts.dropped_types
    ]
    return AppPart(anchor, app, _tiles(split, app), figures, unused)


def _tiles(split: Split, app: str) -> list[tuple[str, str]]:
    count = split.count(app)
    median, most = numbers.bounded_people(split.people(app), count.doubts)
    return [
        (numbers.events(count), "events"),
        (median, "people on the median day"),
        (most, "people on the busiest day"),
    ]


def _unused_features(split: Split, catalogue: Catalogue, app: str) -> list[str]:
    """Return the features of which there certainly is no event."""
    return [
        kind.name
        for kind in catalogue.event_types.values()
        if not kind.retired and split.count(app, event_type=kind.name).is_certain_zero
    ]


def _trend(facts: Facts, app: str, anchor: str) -> Figure:
    figures = facts.trend.by_day(app)
    shown = [figure for figure in figures if figure.people is not None]
    first, last = facts.trend.days[0], facts.trend.days[-1]
    title = "The trend: people a day"
    label = f"Line of people a day, {first} to {last}."
    if shown:
        most = max(shown, key=lambda figure: figure.people or 0)
        label += f" Most: {numbers.optional(most.people)} on {most.day}."
    days: dict[str, int] = {
        state: sum(state in figure.labels for figure in figures) for state in (UNKNOWN, LEFT_OUT)
    }
    lead = f"Distinct people of each UTC day, {first} to {last}, both included."
    lead += "".join(f" Shaded: {state} on {numbers.days(n)}." for state, n in days.items() if n)
    return Figure(
        f"{anchor}-trend",
        title,
        lead,
        ("day (UTC)", "people", "events", "state"),
        [
            (
                str(figure.day),
                numbers.optional(figure.people),
                numbers.optional(figure.events),
                _state(figure),
            )
            for figure in figures
        ],
        (1, 2),
        f"{_file_name(app)}-people-a-day.csv",
        csv_text(
            ("activity_date", "app_name", "users", "events", "state"),
            [(figure.day, app, figure.people, figure.events, _state(figure)) for figure in figures],
        ),
        label,
        charts.trend(figures) if shown else None,
    )


def _state(figure: DayFigure) -> str:
    return ", ".join(figure.labels)


def _features(facts: Facts, catalogue: Catalogue, app: str, anchor: str) -> Figure:
    split, window = facts.splits["app"], len(facts.splits["app"].days)
    rows, data, bars = [], [], []
    for name in split.event_types(app):
        kind = catalogue.event_types.get(name)
        count, people = split.count(app, event_type=name), split.people(app, name)
        doubts = numbers.doubts(count.doubts, window)
        about = kind.entity or "–" if kind else "–"
        purpose = kind.purpose if kind else "no longer in the catalogue"
        rows.append((name, purpose, about, numbers.events(count), *numbers.people(people), doubts))
        data.append((app, name, about, count.events, people.median, people.most, doubts))
        bars.append((name, count.events, numbers.events(count)))
    return Figure(
        f"{anchor}-features",
        "What it is used for: features",
        "Each feature with its events in the window, and how many distinct people used it on a day."
        if rows
        else _why_empty(split, app),
        ("feature", "what it tells", "about", "events", *PEOPLE, "trust"),
        rows,
        (3, 4, 5),
        f"{_file_name(app)}-features.csv",
        csv_text(
            ("app_name", "event_type", "entity_type", "events", *DAY_COLUMNS, "trust"),
            data,
        ),
        bars_label("features", bars),
        charts.bars(bars, "events") if bars else None,
        is_open=True,
    )


def _machines(facts: Facts, app: str, anchor: str) -> list[Figure]:
    """Return devices, browsers and systems: all three, or one figure that says why there is none.

    They are left out together, since the sums of one give back the small numbers of another.
    """
    kinds = {kind: title for kind, title in MACHINES.items() if kind in facts.splits}
    if any(facts.splits[kind].values(app) for kind in kinds):
        return [_by_value(facts, kind, title, app, anchor) for kind, title in kinds.items()]
    title = "On what: devices, browsers and systems"
    leads = dict.fromkeys(_why_empty(facts.splits[kind], app) for kind in kinds)
    return [Figure(f"{anchor}-machines", title, " ".join(leads))] if kinds else []


def _by_value(facts: Facts, kind: str, title: str, app: str, anchor: str) -> Figure:
    is_route = kind == "route"
    split, window = facts.splits[kind], len(facts.splits[kind].days)
    rows, data, bars = [], [], []
    for value in split.values(app):
        count, people = split.count(app, value=value), split.people(app, value=value)
        doubts, shown = numbers.doubts(count.doubts, window), printable(value)
        rows.append((shown, numbers.events(count), *numbers.people(people), doubts))
        data.append((app, value, count.events, people.median, people.most, doubts))
        bars.append((shown, count.events, numbers.events(count)))
    more = len(rows) - MOST_ROWS
    lead = _why_empty(split, app) if not rows else "Events, and distinct people a day."
    if more > 0:
        lead = f"The first {MOST_ROWS} by events; {numbers.number(more)} more are in the CSV."
    column = {"os": "system"}.get(kind, kind)
    return Figure(
        f"{anchor}-{kind}",
        title,
        lead,
        (column, "events", *PEOPLE, "trust"),
        rows[:MOST_ROWS],
        (1, 2, 3),
        f"{_file_name(app)}-{column}s.csv",
        csv_text(("app_name", column, "events", *DAY_COLUMNS, "trust"), data),
        bars_label(f"{column}s", bars[:MOST_ROWS]),
        charts.bars(bars[:MOST_ROWS], "events", charts.WIDE if is_route else charts.NARROW)
        if bars
        else None,
        is_open=is_route,
    )


def _why_empty(split: Split, app: str) -> str:
    if split.hides(app):
        return (
            f"Left out: some of these numbers are about fewer than {LEAST_USERS} people, and could"
            " be worked out from the others, or their days are built in part (see the notes above)."
            " The page for admins shows all of them."
        )
    return _nothing_or_unknown(split, app, "an event of this app")


def _nothing_or_unknown(split: Split, app: str, what: str) -> str:
    if any(UNKNOWN in split.labels[day, app] for day in split.days):
        return f"Unknown: no built day of the window has {what}."
    return NOTHING


def _entities(facts: Facts, app: str, anchor: str) -> Figure:
    doubts, window = facts.entity_days.count(app).doubts, len(facts.entity_days.days)
    trust = numbers.doubts(doubts, window)
    rows, data, bars = [], [], []
    for each in facts.entities:
        if each.app_name != app:
            continue
        name = printable(f"{each.entity_type} {each.entity_id}")
        events = numbers.events(Count(each.events, doubts))
        rows.append((name, events, numbers.number(each.most_users), str(each.days), trust))
        counts = (each.events, each.most_users, each.days)
        data.append((app, each.entity_type, each.entity_id, *counts, trust))
        bars.append((name, each.events, events))
    return Figure(
        f"{anchor}-entities",
        "Where: entities",
        f"The first {len(rows)} by events. For admins only: an entity can identify a person."
        if rows
        else _nothing_or_unknown(facts.entity_days, app, "an event of an entity"),
        ("entity", "events", PEOPLE[1], "days with events", "trust"),
        rows,
        (1, 2, 3),
        f"{_file_name(app)}-entities.csv",
        csv_text(
            ("app_name", "entity_type", "entity_id", "events", DAY_COLUMNS[1], "days", "trust"),
            data,
        ),
        bars_label("entities", bars),
        charts.bars(bars, "events") if bars else None,
    )


def _file_name(app: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in app)
