"""Decides whether an app has unusually many or few bots, by its own past weeks.

It is pure: no database. Bots come in bursts. People rest at weekends and on holidays; bots need
not. A replay brings a whole day again. So a day is compared with past weeks, by number and by
share, and with the same weekdays; and the difference must be more than chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import hypot, sqrt
from statistics import median_low, quantiles

WEEK = 7
HISTORY_DAYS = 4 * WEEK
MIN_HISTORY_EVENTS = 100
MIN_EVENTS = 100  # A share of fewer events says nothing.
MIN_BOTS = 10
MIN_SHARE = 0.005
DEVIATIONS = 4  # Chance alone exceeds this on one of 30,000 days; a check covers 8 days of an app.
# The distance between the quartiles of a normal distribution, in standard deviations.
QUARTILES_PER_DEVIATION = 1.35


@dataclass(frozen=True, slots=True)
class BotDay:
    """An app's day by the books.

    `sends` is how often each accepted event was sent: a replay of the whole day makes it 2.
    """

    received: int
    bots: int
    sends: float = 1.0


@dataclass(frozen=True, slots=True)
class BotChange:
    """The days `first` to `last`, with more or fewer bots than usual.

    `usual` is a number of bots, as `bots` is.
    """

    first: date
    last: date
    received: int
    bots: int
    usual: float


@dataclass(frozen=True, slots=True)
class _Usual:
    """How many bots the past suggests for a day on which each event came once.

    The number should be between `least` and `most`. `deviation` is its standard deviation.
    """

    least: float
    most: float
    deviation: float


def has_history(days: Mapping[date, BotDay], day: date) -> bool:
    """Return whether the four weeks before `day` hold seven days with events, and 100 events."""
    past = _past(days, day).values()
    return len(past) >= WEEK and sum(each.received for each in past) >= MIN_HISTORY_EVENTS


def bot_changes(
    days: Mapping[date, BotDay], looked_at: Iterable[date], today: date
) -> list[BotChange]:
    """Return the `looked_at` days of one app that have unusually many or few bots.

    If there is no such day, return the last week that has too many bots as a whole: a small rise is
    lost in the noise of one day, but not of seven. A day without enough history is left out.
    """
    usual = {day: _usual(days, day) for day in days if has_history(days, day)}
    known = sorted(day for day in looked_at if day in usual)
    found = [
        _as_change([day], days, usual)
        for day in known
        if _jumped(days[day], usual[day]) or (day < today and _fell(days[day], usual[day]))
    ]
    if found:
        return found
    weeks = ([day - timedelta(days=n) for n in reversed(range(WEEK))] for day in reversed(known))
    for week in weeks:
        if _stayed_high(within := [day for day in week if day in usual], days, usual):
            return [_as_change(within, days, usual)]
    return []


def _past(days: Mapping[date, BotDay], day: date) -> dict[int, BotDay]:
    """Return the days of the four weeks before `day`, by how many days before it they were."""
    before = ((ago, days.get(day - timedelta(days=ago))) for ago in range(1, HISTORY_DAYS + 1))
    return {ago: each for ago, each in before if each is not None}


def _usual(days: Mapping[date, BotDay], day: date) -> _Usual:
    past = _past(days, day)
    received = _received(days[day])
    weeks = [
        [past[ago] for ago in range(first, first + WEEK) if ago in past]
        for first in range(1, HISTORY_DAYS, WEEK)
    ]
    least, most = zip(*(_expected(week, received) for week in weeks if week), strict=True)
    # One wild day makes a whole week high, and wild days in three of the four weeks would make the
    # median of the weeks high. The quartile of single days does not follow so few days.
    _, by_single_days = _quartiles(_expected([each], received)[1] for each in past.values())
    # Some bots come once a week.
    weekdays = [
        min(_bots(each), received * _share(each)) for ago, each in past.items() if ago % WEEK == 0
    ]
    expected = max(min(median_low(most), by_single_days), median_low(weekdays or [0.0]))
    fewer, more = _quartiles(_bots(each) for each in past.values())
    lower, upper = _quartiles(received * _share(each) for each in past.values())
    spread = min(more - fewer, upper - lower) / QUARTILES_PER_DEVIATION
    # A count varies by its square root. Few events in the past say little about a day with many.
    chance = sqrt((expected + 1) * (1 + received / sum(map(_received, past.values()))))
    return _Usual(min([*least, *weekdays]), expected, max(chance, spread))


def _expected(past: list[BotDay], received: float) -> tuple[float, float]:
    """Return the least and the most bots to expect on a day that received `received` events.

    There are two estimates. One is the mean number of bots per day of `past`. The other is the
    share of bots in the events of `past`, times `received`. For the upper bound, this share counts
    one bot more than there was, because few events without a bot say little.
    """
    bots, events = sum(map(_bots, past)), sum(map(_received, past))
    number = bots / len(past)
    return min(number, received * bots / events), max(number, received * (bots + 1) / events)


def _jumped(day: BotDay, usual: _Usual) -> bool:
    received = _received(day)
    return received >= MIN_EVENTS and _bots(day) - usual.most > _margin(usual.deviation, received)


def _fell(day: BotDay, usual: _Usual) -> bool:
    """Return whether there are fewer bots than in each of the past weeks.

    The bots are not divided by `sends`, because a replay need not bring them again.
    """
    received = _received(day)
    return received >= MIN_EVENTS and usual.least - day.bots > _margin(usual.deviation, received)


def _stayed_high(
    week: list[date], days: Mapping[date, BotDay], usual: Mapping[date, _Usual]
) -> bool:
    """Return whether the days have too many bots together, even without the highest day.

    The highest day is the one with the largest excess of bots. It is left out because one burst is
    not a lasting change.
    """
    by_excess = sorted(week, key=lambda day: _bots(days[day]) - usual[day].most)[:-1]
    excess = sum(_bots(days[day]) - usual[day].most for day in by_excess)
    received = sum(_received(days[day]) for day in by_excess)
    deviation = hypot(*(usual[day].deviation for day in by_excess))
    return received >= MIN_EVENTS and excess > _margin(deviation, received)


def _margin(deviation: float, received: float) -> float:
    return max(DEVIATIONS * deviation, MIN_BOTS, MIN_SHARE * received)


def _as_change(
    days_of_change: list[date], days: Mapping[date, BotDay], usual: Mapping[date, _Usual]
) -> BotChange:
    return BotChange(
        days_of_change[0],
        days_of_change[-1],
        sum(days[day].received for day in days_of_change),
        sum(days[day].bots for day in days_of_change),
        sum(usual[day].most * days[day].sends for day in days_of_change),
    )


def _received(day: BotDay) -> float:
    return day.received / day.sends


def _bots(day: BotDay) -> float:
    return day.bots / day.sends


def _share(day: BotDay) -> float:
    return day.bots / day.received


def _quartiles(values: Iterable[float]) -> tuple[float, float]:
    lower, _, upper = quantiles(values, n=4, method="inclusive")
    return lower, upper
