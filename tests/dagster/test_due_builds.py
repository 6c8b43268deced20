"""Which stale days are asked for, and when: each sensor case as plain facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.dagster.due_builds import (
    MAX_ATTEMPTS,
    MAX_DAYS_PER_RUN,
    MAX_RUNS_PER_TICK,
    FailedRun,
    backoff,
    given_up,
    nightly_days,
    range_requests,
)
from signal_pipeline.days.freshness import DayStatus

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)
DAY = date(2026, 5, 19)
LONG_AGO = date(2025, 1, 1)  # When Signal was installed.


def stale(
    day: date = DAY,
    *,
    version: int = 1,
    built: timedelta | None = None,
    seconds: float = 1.0,
    changed: timedelta = timedelta(minutes=1),
    rollups: dict[str, str] | None = None,
) -> DayStatus:
    """A stale day, built `built` ago in `seconds`, changed `changed` ago."""
    wanted = rollups or {"daily_app_activity": "stale"}
    builds = {} if built is None else dict.fromkeys(wanted, NOW - built)
    return DayStatus(day, version, "open", False, NOW - changed, 10, wanted, builds, seconds)  # type: ignore[arg-type]


def days_asked(*args: object, **kwargs: object) -> list[date]:
    """The days of all requests."""
    return [day for request in range_requests(*args, **kwargs) for day in request.days]  # type: ignore[arg-type]


def test_a_new_day_is_asked_for_at_once() -> None:
    assert days_asked([stale()], [], [], NOW) == [DAY]


def test_nothing_stale_asks_for_nothing() -> None:
    assert range_requests([], [], [], NOW) == []


def test_a_day_in_flight_is_left_alone() -> None:
    assert days_asked([stale()], [(DAY, DAY)], [], NOW) == []


def test_a_busy_day_rests_ten_times_its_last_build() -> None:
    assert days_asked([stale(built=timedelta(seconds=9), seconds=0.01)], [], [], NOW) == []
    early = stale(built=timedelta(seconds=29), seconds=3)
    ready = stale(built=timedelta(seconds=30), seconds=3)
    assert days_asked([early], [], [], NOW) == []
    assert days_asked([ready], [], [], NOW) == [DAY]


def failures(count: int, last: timedelta) -> list[FailedRun]:
    """Failed runs over the day, the last of them `last` ago."""
    return [FailedRun(DAY, DAY, NOW - last - timedelta(seconds=n)) for n in range(count)]


def test_a_failed_day_is_tried_again_with_growing_pauses() -> None:
    old = stale(changed=timedelta(hours=20))
    assert days_asked([old], [], failures(1, timedelta(seconds=59)), NOW) == []
    assert days_asked([old], [], failures(1, timedelta(seconds=60)), NOW) == [DAY]
    assert days_asked([old], [], failures(3, timedelta(seconds=239)), NOW) == []
    assert days_asked([old], [], failures(3, timedelta(seconds=240)), NOW) == [DAY]


def test_a_day_that_changes_all_the_time_is_tried_again_with_the_same_pauses() -> None:
    """Today changes each second, and its failures can have a lasting reason."""
    busy = stale(changed=timedelta(seconds=1))
    for count, wait in ((1, 60), (2, 120), (3, 240), (4, 480)):
        early, ready = (failures(count, timedelta(seconds=n)) for n in (wait - 1, wait))
        assert days_asked([busy], [], early, NOW) == []
        assert days_asked([busy], [], ready, NOW) == [DAY]


def test_failures_before_the_last_success_do_not_count() -> None:
    repaired = stale(built=timedelta(minutes=1), changed=timedelta(seconds=1))
    tried = failures(MAX_ATTEMPTS, timedelta(minutes=2))
    assert days_asked([repaired], [], tried, NOW) == [DAY]
    assert given_up([repaired], tried, NOW) == []
    tried += failures(1, timedelta(seconds=30))
    assert days_asked([repaired], [], tried, NOW) == []
    assert days_asked([repaired], [], tried, NOW + timedelta(seconds=30)) == [DAY]


def test_a_day_that_keeps_failing_is_given_up_until_it_changes() -> None:
    tried = failures(MAX_ATTEMPTS, timedelta(hours=2))
    assert days_asked([stale(changed=timedelta(hours=20))], [], tried, NOW) == []
    assert days_asked([stale(changed=timedelta(hours=1))], [], tried, NOW) == [DAY]


def test_a_day_that_was_given_up_and_goes_on_changing_is_tried_once_an_hour() -> None:
    busy = stale(changed=timedelta(seconds=1))
    tried = failures(MAX_ATTEMPTS, timedelta(minutes=59))
    assert days_asked([busy], [], tried, NOW) == []
    assert days_asked([busy], [], tried, NOW + timedelta(minutes=1)) == [DAY]
    tried += failures(1, timedelta(0))
    assert days_asked([busy], [], tried, NOW + timedelta(minutes=59)) == []


def test_days_that_failed_too_often_are_named() -> None:
    tried = failures(MAX_ATTEMPTS, timedelta(hours=2))
    other = stale(DAY - timedelta(days=1), changed=timedelta(hours=20))
    assert given_up([stale(changed=timedelta(hours=20)), other], tried, NOW) == [DAY]
    busy = stale(changed=timedelta(seconds=1))
    assert given_up([busy], failures(MAX_ATTEMPTS, timedelta(minutes=59)), NOW) == [DAY]
    assert given_up([busy], tried, NOW) == []


def test_a_failed_run_counts_for_the_days_that_it_names() -> None:
    older = DAY - timedelta(days=1)
    named = [FailedRun(older, DAY, NOW, frozenset({older}))] * MAX_ATTEMPTS
    days = [stale(day, changed=timedelta(hours=9)) for day in (older, DAY)]
    assert days_asked(days, [], named, NOW) == [DAY]


BAD = "daily_bad_activity"
MIXED = {"daily_app_activity": "stale", BAD: "missing"}


def bad_runs(count: int, last: timedelta) -> list[FailedRun]:
    """Runs that built the day but for one rollup, the last of them `last` ago."""
    ends = [NOW - last - timedelta(minutes=n) for n in range(count)]
    return [FailedRun(DAY, DAY, end, frozenset({DAY}), {DAY: frozenset({BAD})}) for end in ends]


def rollups_asked(status: DayStatus, failed: list[FailedRun], now: datetime = NOW) -> list[str]:
    """The rollups of all requests for a day."""
    return [name for each in range_requests([status], [], failed, now) for name in each.rollups]


def test_a_rollup_that_fails_backs_off_alone_although_the_others_are_built_meanwhile() -> None:
    """Today changes all the time, so the others want a build again and again."""
    busy = stale(rollups=MIXED, changed=timedelta(seconds=1))
    busy = replace(busy, builds={"daily_app_activity": NOW - timedelta(seconds=30)})
    tried = bad_runs(3, timedelta(seconds=239))
    assert rollups_asked(busy, tried) == ["daily_app_activity"]
    assert rollups_asked(busy, tried, NOW + timedelta(seconds=1)) == sorted(MIXED)
    given = bad_runs(MAX_ATTEMPTS, timedelta(minutes=59))
    assert rollups_asked(busy, given) == ["daily_app_activity"]
    assert given_up([busy], given, NOW) == [DAY]
    others_fresh = replace(busy, rollups={"daily_app_activity": "fresh", BAD: "missing"})
    assert rollups_asked(others_fresh, tried) == []


def test_a_rollup_counts_as_failed_only_on_its_own_days() -> None:
    """One run can fail for one rollup on a day, for another on the next, and for a whole day."""
    days = [DAY + timedelta(days=n) for n in range(3)]
    partly = {days[0]: frozenset({"daily_app_activity"}), days[1]: frozenset({BAD})}
    run = FailedRun(days[0], days[2], NOW - timedelta(seconds=30), frozenset(days), partly)
    asked = [
        rollups_asked(stale(day, rollups=MIXED, changed=timedelta(hours=9)), [run]) for day in days
    ]
    assert asked == [[BAD], ["daily_app_activity"], []]


def test_a_rollup_that_rests_is_in_no_run_of_other_days() -> None:
    """A run builds each of its rollups on every stale day of its range."""
    days = [DAY + timedelta(days=n) for n in (-1, 0, 1)]
    statuses = [stale(day, rollups=MIXED, changed=timedelta(hours=9)) for day in days]
    tried = bad_runs(1, timedelta(seconds=30))
    requests = range_requests(statuses, [], tried, NOW)
    assert [(list(each.days), list(each.rollups)) for each in requests] == [
        ([days[2]], sorted(MIXED)),
        ([DAY], ["daily_app_activity"]),
        ([days[0]], sorted(MIXED)),
    ]
    built = dict.fromkeys(["daily_app_activity"], NOW - timedelta(seconds=5))
    statuses[1] = replace(statuses[1], builds=built)  # It pauses.
    requests = range_requests(statuses, [], tried, NOW)
    assert [list(each.days) for each in requests] == [[days[2]], [days[0]]]
    # It still pauses when the rollup need not rest any more, and then gets a run of its own.
    statuses[1] = replace(statuses[1], build_seconds=60.0)
    tried = bad_runs(1, timedelta(minutes=5))
    requests = range_requests(statuses, [], tried, NOW)
    assert [list(each.days) for each in requests] == [[days[2]], [days[0]]]
    requests = range_requests(statuses, [], tried, NOW + timedelta(minutes=10))
    assert [list(each.days) for each in requests] == [[days[2]], [days[1]], [days[0]]]


def test_a_day_that_kills_its_run_does_not_hold_up_the_others() -> None:
    """A killed run names no day, so each day of its range counts as tried."""
    older = DAY - timedelta(days=1)
    killed = [FailedRun(older, DAY, NOW - timedelta(minutes=1))]
    days = [stale(day, changed=timedelta(hours=9)) for day in (older, DAY)]
    requests = range_requests(days, [], killed, NOW)
    assert [list(request.days) for request in requests] == [[DAY], [older]]
    requests = range_requests(days, [], [], NOW)
    assert [list(request.days) for request in requests] == [[older, DAY]]


def test_the_back_off_doubles_and_stops_growing() -> None:
    waits = [backoff(n) for n in range(1, 12)]
    assert waits[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert waits[-1] == waits[-2] == timedelta(hours=1)


def test_a_failed_run_of_another_day_does_not_count() -> None:
    other = [FailedRun(DAY - timedelta(days=3), DAY - timedelta(days=1), NOW)]
    assert days_asked([stale(changed=timedelta(hours=9))], [], other, NOW) == [DAY]


def test_the_key_changes_with_the_version_and_the_attempt() -> None:
    old = {"changed": timedelta(hours=20)}
    keys = [
        range_requests([stale(**old)], [], [], NOW)[0].key,  # type: ignore[arg-type]
        range_requests([stale(version=2, **old)], [], [], NOW)[0].key,  # type: ignore[arg-type]
        range_requests([stale(**old)], [], failures(1, timedelta(hours=1)), NOW)[0].key,  # type: ignore[arg-type]
    ]
    assert len(set(keys)) == 3


def test_only_rollups_that_want_a_build_are_asked_for() -> None:
    mixed = stale(rollups={"a": "fresh", "b": "missing", "c": "stale"})
    assert range_requests([mixed], [], [], NOW)[0].rollups == ["b", "c"]


def test_hundreds_of_stale_days_are_few_bounded_runs_newest_first() -> None:
    days = [stale(DAY - timedelta(days=2 * n)) for n in range(300)]
    requests = range_requests(days, [], [], NOW)
    assert len(requests) == MAX_RUNS_PER_TICK
    assert all(len(request.days) <= MAX_DAYS_PER_RUN for request in requests)
    assert requests[0].days[-1] == DAY
    asked = [day for request in requests for day in request.days]
    assert sorted(asked, reverse=True) == [c.day for c in days[: len(asked)]]


@given(
    days=st.sets(st.integers(0, 400), max_size=200),
    flights=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=4),
)
def test_no_request_touches_a_day_in_flight(days: set[int], flights: list[tuple[int, int]]) -> None:
    taken = [(DAY - timedelta(days=n + size), DAY - timedelta(days=n)) for n, size in flights]
    requests = range_requests([stale(DAY - timedelta(days=n)) for n in days], taken, [], NOW)
    for request in requests:
        for first, last in taken:
            assert request.days[-1] < first or request.days[0] > last
    asked = [day for request in requests for day in request.days]
    assert len(asked) == len(set(asked))
    assert {(DAY - day).days for day in asked} <= days


@given(
    days=st.sets(st.integers(0, 400), max_size=200),
    failing=st.dictionaries(st.integers(0, 400), st.integers(1, MAX_ATTEMPTS), max_size=20),
)
def test_no_request_spans_a_stale_day_that_rests_after_failures(
    days: set[int], failing: dict[int, int]
) -> None:
    """A run builds every stale day of its range, so a resting day must not be in a range."""
    resting = {DAY - timedelta(days=n) for n in failing if n in days}
    failed = [
        FailedRun(DAY - timedelta(days=n), DAY - timedelta(days=n), NOW)
        for n, times in failing.items()
        for _ in range(times)
    ]
    statuses = [stale(DAY - timedelta(days=n), changed=timedelta(hours=9)) for n in days]
    requests = range_requests(statuses, [], failed, NOW)
    for request in requests:
        assert not [day for day in resting if request.days[0] <= day <= request.days[-1]]
    if len(requests) < MAX_RUNS_PER_TICK:
        asked = {day for request in requests for day in request.days}
        assert asked == {status.day for status in statuses} - resting


def test_a_run_spans_a_busy_day_that_pauses() -> None:
    """Parting runs at each pause would make many small runs out of one while late events come."""
    days = [DAY - timedelta(days=n) for n in range(3)]
    busy = stale(days[1], built=timedelta(seconds=9))
    (request,) = range_requests([stale(days[0]), busy, stale(days[2])], [], [], NOW)
    assert request.days == [days[2], days[0]]


def test_a_night_builds_what_is_stale_and_what_has_no_row_oldest_first() -> None:
    fresh = {"daily_app_activity": "fresh"}
    statuses = [
        stale(DAY - timedelta(days=400), rollups={"daily_app_activity": "unavailable"}),
        stale(DAY - timedelta(days=90)),
        stale(DAY - timedelta(days=4), rollups=fresh),
        stale(DAY - timedelta(days=2), rollups={"daily_app_activity": "missing"}),
        stale(DAY + timedelta(days=1)),
    ]
    built = nightly_days(statuses, DAY - timedelta(days=5), LONG_AGO, DAY)
    assert [(DAY - day).days for day in built] == [90, 5, 3, 2, 1, 0]


def test_a_silence_of_months_is_not_filled() -> None:
    long_ago = stale(DAY - timedelta(days=150))
    built = nightly_days([long_ago, stale(DAY)], DAY - timedelta(days=180), LONG_AGO, DAY)
    assert (built[0], built[1], len(built)) == (long_ago.day, DAY - timedelta(days=31), 33)


def test_a_day_before_the_installation_stays_unknown_until_a_replay_brings_some() -> None:
    """Nobody recorded its events, so a build would say zero of what is unknown."""
    replayed, installed = stale(DAY - timedelta(days=19)), DAY - timedelta(days=2)
    built = nightly_days([replayed, stale(DAY)], DAY - timedelta(days=180), installed, DAY)
    assert [(DAY - day).days for day in built] == [19, 2, 1, 0]


def test_a_first_night_builds_yesterday_alone() -> None:
    assert nightly_days([], DAY - timedelta(days=180), LONG_AGO, DAY) == [DAY]


def test_a_night_with_nothing_missed_builds_yesterday_again() -> None:
    assert nightly_days(
        [stale(rollups={"a": "fresh"})], DAY - timedelta(days=180), LONG_AGO, DAY
    ) == [DAY]


def test_a_clock_that_was_ahead_holds_up_no_day() -> None:
    year = timedelta(days=365)
    assert days_asked([stale(built=-year)], [], [], NOW) == [DAY]
    false = failures(MAX_ATTEMPTS, -year)
    assert days_asked([stale()], [], false, NOW) == [DAY]
    assert given_up([stale()], false, NOW) == []


def test_failures_after_a_build_by_a_clock_that_was_ahead_count() -> None:
    false = stale(built=-timedelta(days=365))
    assert days_asked([false], [], failures(1, timedelta(seconds=59)), NOW) == []
    assert days_asked([false], [], failures(1, timedelta(seconds=60)), NOW) == [DAY]
