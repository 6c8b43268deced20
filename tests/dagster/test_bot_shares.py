"""When an app's bots are unusual: what must be seen, and what must raise no alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.dagster.probes.bot_shares import BotChange, BotDay, bot_changes, has_history

MONDAY = date(2026, 11, 2)
WEEKDAYS = (1.22, 1.3, 1.28, 1.24, 1.12, 0.38, 0.46)  # How many people come, Monday first.
Days = dict[date, BotDay]


def traffic(
    seed: int,
    length: int,
    people: float = 1_000,
    share: float = 0.02,
    start: date = MONDAY,
    bots_rest: bool = True,
    refused: Callable[[date], float] = lambda day: 0,
) -> Days:
    """Random days of an app.

    `refused` is the share of a day's people that is taken for bots.
    """
    chance = np.random.default_rng(seed)
    days = {}
    for day in (start + timedelta(days=n) for n in range(length)):
        busy = WEEKDAYS[day.weekday()]
        bots = int(chance.poisson(people * share / (1 - share) * (busy if bots_rest else 1)))
        humans = int(chance.poisson(people * busy))
        refusals = int(chance.binomial(humans, refused(day)))
        if humans + bots:
            days[day] = BotDay(humans + bots, bots + refusals)
    return days


def after(day: date, share: float) -> Callable[[date], float]:
    """A share of the people, from a day on."""
    return lambda each: share if each >= day else 0


def changes(days: Days, recent: int = 8) -> list[BotChange]:
    """The changes that are found at the end of the last day."""
    last = max(days)
    return bot_changes(
        days, [day for day in days if (last - day).days < recent], last + timedelta(days=1)
    )


@pytest.mark.parametrize("share", [0, 0.01, 0.02])
@pytest.mark.parametrize("seed", range(5))
def test_a_makers_phones_that_became_bots_are_seen_on_the_day(share: float, seed: int) -> None:
    jump = MONDAY + timedelta(days=35)
    days = traffic(seed, 36, 2_000, share, refused=after(jump, 0.03))
    (found,) = changes(days)
    assert (found.first, found.last) == (jump, jump)
    assert (found.received, found.bots) == (days[jump].received, days[jump].bots)
    assert found.usual / found.received == pytest.approx(share, abs=0.005)


@pytest.mark.parametrize(("people", "within"), [(2_000, 1), (700, 2), (300, 4), (150, 7)])
def test_a_small_app_needs_some_days(people: int, within: int) -> None:
    """Three in a hundred people, of an app that had no bots at all."""
    jump = MONDAY + timedelta(days=35)
    seen = [
        bool(changes(traffic(seed, 35 + within, people, 0, refused=after(jump, 0.03))))
        for seed in range(20)
    ]
    assert sum(seen) >= 18


@pytest.mark.parametrize(
    "bots_rest", [True, False], ids=["bots like people", "bots that do not rest"]
)
@pytest.mark.parametrize("share", [0.002, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("people", [20, 100, 700, 5_000])
def test_chance_and_weekends_are_no_change(people: int, share: float, bots_rest: bool) -> None:
    cried = [
        seed
        for seed in range(25)
        if changes(traffic(seed, 30 + seed % 7, people, share, bots_rest=bots_rest), recent=30)
    ]
    assert len(cried) <= 1


def test_a_holiday_is_no_change() -> None:
    days = traffic(1, 36, 2_000, bots_rest=False, share=0.03)
    last = max(days)
    days[last] = BotDay(100 + days[last].bots, days[last].bots)
    assert changes(days) == []


def test_bots_that_come_once_a_week_are_known_after_some_weeks() -> None:
    sundays = [MONDAY + timedelta(days=n) for n in range(34, 70, 7)]
    days = {
        day: BotDay(1_000 + bots, bots)
        for day in (MONDAY + timedelta(days=n) for n in range(70))
        for bots in [80 if day in sundays else 0]
    }
    assert [each.first for each in changes(days, recent=70)] == sundays[:3]


def test_a_replay_of_a_day_is_no_change() -> None:
    days = traffic(2, 36, share=0.05, bots_rest=False)
    for day in (MONDAY + timedelta(days=n) for n in range(28, 36)):
        days[day] = BotDay(days[day].received * 2, days[day].bots * 2, sends=2)
    assert changes(days) == []


def test_a_replay_that_takes_people_for_bots_is_seen() -> None:
    days = traffic(2, 36)
    day = MONDAY + timedelta(days=30)
    people = days[day].received - days[day].bots
    again = days[day].bots + people // 10
    days[day] = BotDay(days[day].received * 2, days[day].bots + again, sends=1.9)
    assert [each.first for each in bot_changes(days, [day], max(days))] == [day]


def test_a_wild_day_in_each_past_week_does_not_hide_a_jump() -> None:
    jump = MONDAY + timedelta(days=35)
    days = traffic(3, 36, 2_000, refused=after(jump, 0.03))
    for ago in (3, 7, 12, 20):
        days[jump - timedelta(days=ago)] = BotDay(5_000, 3_000)
    assert jump in [each.first for each in changes(days, recent=1)]


def test_an_app_that_grew_a_hundredfold_keeps_its_share() -> None:
    def grown(seed: int) -> Days:
        return traffic(seed, 28, 10) | traffic(
            seed + 100, 8, 1_000, start=MONDAY + timedelta(days=28)
        )

    assert sum(bool(changes(grown(seed))) for seed in range(150)) <= 2


@pytest.mark.parametrize(
    ("too_little", "enough"),
    [
        (BotDay(300, 9), BotDay(300, 14)),
        (BotDay(90, 15), BotDay(110, 15)),
        (BotDay(40_000, 190), BotDay(40_000, 230)),
    ],
    ids=["few bots", "few events", "a small share"],
)
def test_what_is_too_little_is_no_change(too_little: BotDay, enough: BotDay) -> None:
    """An app that had no bots at all, on one day alone."""
    last = MONDAY + timedelta(days=35)
    days = {MONDAY + timedelta(days=n): BotDay(too_little.received, 0) for n in range(35)}
    assert changes({**days, last: too_little}) == []
    assert len(changes({**days, last: enough})) == 1


def test_a_day_that_is_not_over_may_still_get_its_bots() -> None:
    today = MONDAY + timedelta(days=35)
    days = traffic(6, 36, 3_000)
    days[today] = BotDay(3_000, 0)
    assert bot_changes(days, [today], today) == []
    (found,) = bot_changes(days, [today], today + timedelta(days=1))
    assert (found.bots, round(found.usual / found.received, 2)) == (0, 0.02)


def test_a_fall_is_no_replay_without_its_bots() -> None:
    days = traffic(7, 36, 10_000)
    last = max(days)
    people = days[last].received - days[last].bots
    days[last] = BotDay(days[last].received + people, days[last].bots, sends=2)
    assert changes(days) == []


def test_a_new_app_has_no_change_and_no_history() -> None:
    days = {MONDAY + timedelta(days=n): BotDay(1_000, 10) for n in range(7)}
    days[MONDAY + timedelta(days=7)] = BotDay(1_000, 500)
    assert [has_history(days, day) for day in days] == [False] * 7 + [True]
    assert [each.first for each in changes(days)] == [MONDAY + timedelta(days=7)]
    del days[MONDAY]
    assert changes(days) == []
    few = {day: BotDay(10, 0) for day in days}
    assert not has_history(few, max(days))


def test_a_level_that_stays_becomes_the_usual_one() -> None:
    jump = MONDAY + timedelta(days=35)
    days = traffic(8, 60, 2_000, refused=after(jump, 0.03))
    red = [
        n
        for n in range(1, 25)
        if changes({day: each for day, each in days.items() if day < jump + timedelta(n)})
    ]
    assert red[:7] == list(range(1, 8))
    assert max(red) <= 21


counts = st.integers(1, 5_000).flatmap(
    lambda received: st.tuples(st.just(received), st.integers(0, received))
)


@given(st.lists(st.none() | counts, min_size=1, max_size=45), st.sampled_from([1.0, 1.5, 2.0]))
def test_whatever_came_the_answer_is_of_the_days_asked(
    found: Sequence[tuple[int, int] | None], sends: float
) -> None:
    days = {
        MONDAY + timedelta(days=n): BotDay(*each, sends) for n, each in enumerate(found) if each
    }
    asked = list(days)[-8:]
    for each in bot_changes(days, asked, MONDAY + timedelta(days=len(found))):
        assert each.last in asked
        assert has_history(days, each.last)
        assert 0 <= each.bots <= each.received
        assert abs(each.bots - each.usual) >= 10


@given(st.lists(counts, min_size=36, max_size=36))
def test_more_bots_in_place_of_people_never_hide_a_jump(found: Sequence[tuple[int, int]]) -> None:
    days = {MONDAY + timedelta(days=n): BotDay(*each) for n, each in enumerate(found)}
    last = max(days)
    more = {**days, last: BotDay(days[last].received, days[last].received)}
    jumped = [
        each
        for each in bot_changes(days, [last], last)
        if each.first == last and each.bots > each.usual
    ]
    if jumped:
        assert [each.first for each in bot_changes(more, [last], last)] == [last]
