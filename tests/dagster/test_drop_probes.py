"""The probes of drops: how a fault shows, and what is no fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta

import pytest
from support.days import days_ago, today, yesterday
from support.traffic import CHROME, line, traffic

from signal_pipeline.dagster.probes.bot_counts import bots_are_steady
from signal_pipeline.dagster.probes.drop_rate import few_drops
from signal_pipeline.dagster.probes.identity import addresses_arrive
from signal_pipeline.events.browsers import BROWSER_FAMILIES, OS_FAMILIES
from signal_pipeline.events.devices import DEVICE_TYPES
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

PHONE = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0"
    " Chrome/130.0.0.0 Mobile Safari/537.36"
)
# A new list could take the same phones for bots. The address must never be seen again.
REFUSED_PHONE = f"{PHONE} https://secret.example.org"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
Receive = Callable[..., None]

pytestmark = pytest.mark.embedded_only


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@pytest.fixture
def receive(settings: Settings, database: Database) -> Receive:
    """Ingests lines as they came on a day."""

    def receive_on(day: date, lines: list[bytes]) -> None:
        with closing(
            Ingest.from_settings(settings, database, lambda: noon(day) + timedelta(hours=1))
        ) as ingest:
            ingest.ingest_lines(lines)

    return receive_on


def lines_of(day: date, app: str = "cms", **agents: int) -> list[bytes]:
    """So many lines of each kind of user agent."""
    texts = {"people": CHROME, "phones": PHONE, "refused": REFUSED_PHONE, "crawlers": CRAWLER}
    return [
        line(noon(day), appName=app, userAgent=texts[kind])
        for kind, n in agents.items()
        for _ in range(n)
    ]


def booked(connection: Connection, app: str, days: dict[date, tuple[int, int]]) -> None:
    """Days of an app in the books.

    They state how many events were received, and how many of these were bots; the bots' families
    are known.
    """
    for day, (received, bots) in days.items():
        connection.execute(
            "insert into signal.books values (%(day)s, %(app)s, 'journey_create_clicked',"
            " 'accepted', '', %(people)s), (%(day)s, %(app)s, 'journey_create_clicked', 'dropped',"
            " 'bot', %(bots)s)",
            {"day": day, "app": app, "people": received - bots, "bots": bots},
        )
        connection.execute(
            "insert into signal.bots values (%s, %s, 'Other', 'unknown', 'unknown', %s, now() -"
            " interval '9 days')",
            [day, app, bots],
        )


def before(day: date, days: int) -> list[date]:
    return [day - timedelta(days=n) for n in range(days, 0, -1)]


def test_unreadable_lines_of_a_large_replay_are_few(
    connection: Connection, receive: Receive
) -> None:
    good = [text for n in range(30) for text in traffic(days_ago(30 - n), 40)]
    receive(today(), [*good, *[b"torn {"] * 121])
    assert few_drops(connection).passed


def test_unreadable_lines_beside_little_else_are_many(
    connection: Connection, receive: Receive
) -> None:
    receive(today(), [*traffic(days_ago(30), 1_000)])
    receive(yesterday(), [*lines_of(yesterday(), people=5), *[b"torn {"] * 121])
    finding = few_drops(connection)
    assert finding.figures["days"] == {str(yesterday()): "96.0% of 126: malformed 121"}


def test_a_fault_of_one_app_does_not_drown_in_a_replay_of_others(
    connection: Connection, receive: Receive
) -> None:
    faulty = [
        line(noon(today()), appName="videos-admin", entityType="journey", entityId="x")
        for _ in range(60)
    ]
    receive(
        today(),
        [
            *faulty,
            *lines_of(today(), "videos-admin", people=50, crawlers=30),
            *traffic(yesterday(), 2_000),
        ],
    )
    finding = few_drops(connection)
    assert finding.figures["days"] == {f"{today()} videos-admin": "54.5% of 110: invalid_entity 60"}


def test_a_replay_that_comes_too_late_is_told(connection: Connection, receive: Receive) -> None:
    late = [line(noon(days_ago(200)), appName="cms") for _ in range(100)]
    receive(today(), [*late, *traffic(yesterday(), 100)])
    assert "too_late 100" in few_drops(connection).figures["days"][f"{today()} cms"]


def test_a_second_replay_is_no_drop(connection: Connection, receive: Receive) -> None:
    lines = [*traffic(yesterday(), 700), *[b"torn {"] * 121]
    receive(today(), lines)
    receive(today(), lines)
    assert few_drops(connection).passed


def test_bots_are_no_drops_of_a_fault(connection: Connection, receive: Receive) -> None:
    receive(today(), lines_of(today(), people=100, crawlers=500))
    assert few_drops(connection).passed


def test_what_was_never_counted_is_unknown(connection: Connection, receive: Receive) -> None:
    assert "Unknown" in few_drops(connection).message
    receive(yesterday(), traffic(yesterday(), 5))
    assert "Unknown" not in few_drops(connection).message
    connection.execute("truncate signal.intake")  # As after a migration: the books know the days.
    finding = few_drops(connection)
    assert finding.passed
    assert "Unknown" in finding.message


def test_a_list_that_drops_a_makers_phones_is_seen_with_their_family(
    connection: Connection, receive: Receive
) -> None:
    for day in before(today(), 10):
        receive(day, lines_of(day, people=480, phones=15, crawlers=5))
    assert bots_are_steady(connection).passed
    receive(today(), lines_of(today(), people=480, refused=15, crawlers=5))
    finding = bots_are_steady(connection)
    assert not finding.passed
    assert finding.figures["app_days"] == {f"{today()} cms": "4.0% of 500 (20), usually 1.0%"}
    families = (
        "Samsung Internet on Android, mobile: 15 (usually 0.0); Other on unknown, unknown: 5"
        " (usually 5.0)"
    )
    assert finding.figures["families"] == {f"{today()} cms": families}
    assert "docs/data-team.md" in finding.message
    told = json.dumps([finding.message, dict(finding.figures)]) + str(
        connection.execute("select b::text from signal.bots as b").fetchall()
    )
    assert "secret" not in told
    assert "googlebot" not in told.lower()
    buckets = connection.execute(
        "select browser_family, os_family, device_type from signal.bots"
    ).fetchall()
    for browser, system, device in buckets:
        assert browser in BROWSER_FAMILIES
        assert system in OS_FAMILIES
        assert device in DEVICE_TYPES


def test_an_app_is_held_against_itself_alone(connection: Connection) -> None:
    history = before(today(), 28)
    booked(connection, "cms", dict.fromkeys([*history, today()], (1_000, 5)))
    booked(connection, "videos-admin", dict.fromkeys([*history, today()], (5_000, 1_500)))
    assert bots_are_steady(connection).passed
    booked(
        connection, "journeys-admin", {**dict.fromkeys(history, (1_000, 0)), today(): (1_000, 30)}
    )
    finding = bots_are_steady(connection)
    assert finding.figures["app_days"] == {
        f"{today()} journeys-admin": "3.0% of 1,000 (30), usually 0.0%"
    }


def test_a_few_more_a_day_are_seen_together(connection: Connection) -> None:
    week = [*before(today(), 6), today()]
    days = dict.fromkeys(before(week[0], 28), (200, 0)) | dict.fromkeys(week, (200, 6))
    booked(connection, "cms", days)
    finding = bots_are_steady(connection)
    assert finding.figures["app_days"] == {
        f"{week[0]} to {today()} cms": "3.0% of 1,400 (42), usually 0.1%"
    }
    families = finding.figures["families"][f"{week[0]} to {today()} cms"]
    assert families == "Other on unknown, unknown: 42 (usually 0.0)"


def test_bots_that_are_not_found_any_more_are_told_of_days_that_are_over(
    connection: Connection,
) -> None:
    booked(
        connection,
        "cms",
        dict.fromkeys(before(yesterday(), 28), (2_000, 60)) | {today(): (2_000, 0)},
    )
    assert bots_are_steady(connection).passed
    booked(connection, "cms", {yesterday(): (2_000, 0)})
    finding = bots_are_steady(connection)
    assert finding.figures["app_days"] == {f"{yesterday()} cms": "0.0% of 2,000 (0), usually 3.0%"}
    assert finding.figures["families"] == {
        f"{yesterday()} cms": "Other on unknown, unknown: 0 (usually 60.0)"
    }
    assert "fewer in 1" in finding.message


def test_apps_without_a_week_of_history_are_named(connection: Connection) -> None:
    assert "Unknown" in bots_are_steady(connection).message
    booked(
        connection,
        "cms",
        {day: (1_000, 500 if day == today() else 0) for day in [*before(today(), 6), today()]},
    )
    finding = bots_are_steady(connection)
    assert finding.passed
    assert "Unknown" in finding.message
    booked(connection, "videos-admin", dict.fromkeys([*before(today(), 9), today()], (1_000, 10)))
    finding = bots_are_steady(connection)
    assert finding.passed
    assert finding.message.endswith("history: cms.")


def test_families_of_before_they_were_counted_are_unknown(connection: Connection) -> None:
    booked(
        connection, "cms", dict.fromkeys(before(today(), 20), (1_000, 10)) | {today(): (1_000, 60)}
    )
    connection.execute(
        "update signal.bots set browser_family = x, os_family = x, device_type = x from (values"
        " ('(not recorded)')) as v (x) where day < %s",
        [today()],
    )
    families = bots_are_steady(connection).figures["families"]
    assert families == {f"{today()} cms": "Other on unknown, unknown: 60 (usually unknown)"}


def test_an_old_day_to_which_bots_were_added_is_looked_at(
    connection: Connection, receive: Receive
) -> None:
    day = days_ago(60)
    booked(connection, "cms", dict.fromkeys([*before(day, 28), day], (1_000, 10)))
    booked(connection, "cms", dict.fromkeys(before(today(), 28), (1_000, 10)))
    assert bots_are_steady(connection).passed
    receive(today(), lines_of(day, refused=100))
    finding = bots_are_steady(connection)
    assert list(finding.figures["app_days"]) == [f"{day} cms"]
    assert "Samsung Internet on Android, mobile: 100" in finding.figures["families"][f"{day} cms"]


def test_a_replay_of_whole_days_changes_no_share(connection: Connection, receive: Receive) -> None:
    kept = {}
    for day in before(today(), 12):
        kept[day] = lines_of(day, people=300, crawlers=30)
        receive(day, kept[day])
    for lines in kept.values():
        receive(today(), lines)
    assert bots_are_steady(connection).passed


def test_a_few_events_without_an_address_are_no_fault_of_the_gateway(
    connection: Connection, receive: Receive
) -> None:
    receive(today(), [line(noon(today()), ip=None) for _ in range(9)])
    assert addresses_arrive(connection).passed
    receive(today(), [line(noon(today()), ip=None)])
    assert not addresses_arrive(connection).passed
    receive(today(), lines_of(today(), "journeys-admin", people=990))
    assert addresses_arrive(connection).passed
