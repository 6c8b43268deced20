"""Which days are past their retention when no single clock is trusted.

The tests are examples of wrong clocks, and invariants.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.privacy.retention_rule import ClockFacts, Judgement, judge

INSTALLED = date(2026, 1, 1)
TODAY = date(2026, 11, 28)
KEEP = 180


def days(first: date, last: date) -> frozenset[date]:
    return frozenset(first + timedelta(days=n) for n in range((last - first).days + 1))


def at(day: date, hours: float = 0.5) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(hours=hours)


def judged(
    today: date, seen: frozenset[date], keep: int = KEEP, installed: date = INSTALLED
) -> Judgement:
    return judge(ClockFacts(at(today), at(today), installed, seen), keep)


def test_without_a_gap_the_clock_and_the_signs_agree() -> None:
    judgement = judged(TODAY, days(INSTALLED, TODAY - timedelta(days=1)))
    assert judgement.first_kept == judgement.by_clock == TODAY - timedelta(days=KEEP)
    assert judgement.unseen == []


@pytest.mark.parametrize("jump", [1, 7, 60, 365, 3650])
def test_a_jump_makes_no_day_older_than_the_days_that_were_seen(jump: int) -> None:
    seen = days(INSTALLED, TODAY)
    judgement = judged(TODAY + timedelta(days=1 + jump), seen)
    assert judgement.first_kept == TODAY + timedelta(days=1 - KEEP)
    assert judgement.by_clock == judgement.first_kept + timedelta(days=jump)
    assert len(judgement.unseen) == jump


def test_while_the_clock_stays_wrong_days_go_one_by_one() -> None:
    jumped = TODAY + timedelta(days=366)
    for nights in range(20):
        seen = days(INSTALLED, TODAY) | days(jumped, jumped + timedelta(days=nights))
        judgement = judged(jumped + timedelta(days=nights), seen)
        assert judgement.first_kept == TODAY + timedelta(days=1 + nights - KEEP)


def test_a_day_recorded_after_a_jump_is_as_old_as_the_days_since() -> None:
    jumped = TODAY + timedelta(days=366)
    last = jumped + timedelta(days=KEEP + 1)
    judgement = judged(last, days(INSTALLED, TODAY) | days(jumped, last))
    assert judgement.first_kept == judgement.by_clock == jumped + timedelta(days=1)


@pytest.mark.parametrize("back", [1, 30, 3000])
def test_a_clock_that_goes_back_makes_nothing_due(back: int) -> None:
    earlier = TODAY - timedelta(days=back)
    judgement = judged(earlier, days(INSTALLED, TODAY))
    assert judgement.first_kept <= earlier - timedelta(days=KEEP)
    assert judgement.refusal([]) is None


def test_a_clock_that_comes_back_from_a_jump_is_believed_but_for_the_days_between() -> None:
    jumped, mended = TODAY + timedelta(days=400), TODAY + timedelta(days=3)
    judgement = judged(mended, days(INSTALLED, TODAY) | {jumped, jumped + timedelta(days=1)})
    assert judgement.unseen == [TODAY + timedelta(days=1), TODAY + timedelta(days=2)]
    assert judgement.first_kept == judgement.by_clock - timedelta(days=2)


def test_on_the_day_of_the_installation_imported_history_is_as_old_as_it_says() -> None:
    judgement = judged(TODAY, frozenset(days(date(2024, 1, 1), date(2024, 3, 1))), installed=TODAY)
    assert judgement.first_kept == judgement.by_clock


def test_imported_history_does_not_excuse_a_jump() -> None:
    seen = days(date(2020, 1, 1), TODAY)
    judgement = judged(TODAY + timedelta(days=300), seen, installed=TODAY - timedelta(days=3))
    assert judgement.by_clock - judgement.first_kept == timedelta(days=299)


def test_after_an_installation_by_a_clock_that_was_ahead_a_jump_is_seen_all_the_same() -> None:
    seen = days(TODAY - timedelta(days=200), TODAY)
    judgement = judged(TODAY + timedelta(days=100), seen, installed=date(2030, 1, 1))
    assert judgement.by_clock - judgement.first_kept == timedelta(days=99)


def test_a_lower_retention_makes_many_days_due_at_once() -> None:
    judgement = judged(TODAY, days(INSTALLED, TODAY), keep=30)
    assert judgement.first_kept == judgement.by_clock == TODAY - timedelta(days=30)


def test_the_refusal_says_which_days_why_and_what_to_do() -> None:
    judgement = judged(date(2027, 11, 29), days(INSTALLED, TODAY))
    held = sorted(
        day for day in days(INSTALLED, TODAY) if judgement.first_kept <= day < judgement.by_clock
    )
    refusal = judgement.refusal(held)
    assert refusal is not None
    text = refusal.reason
    assert "180 raw day(s)" in text
    assert "(2026-06-02 to 2026-11-28)" in text
    assert (
        "365 day(s) have passed by the clock without any event or run: 2026-11-29 to 2027-11-28"
        in text
    )
    assert "If today really is 2027-11-29, confirm them once" in text
    assert refusal.confirmable == 180


@pytest.mark.parametrize("ahead", ["machine", "database"])
def test_of_clocks_that_differ_the_earlier_counts_and_the_retention_is_refused(ahead: str) -> None:
    good, wrong = at(TODAY), at(TODAY + timedelta(days=365))
    clocks = {"machine": good, "database": good} | {ahead: wrong}
    judgement = judge(ClockFacts(**clocks, installed=INSTALLED, seen=days(INSTALLED, TODAY)), KEEP)
    assert judgement.first_kept == TODAY - timedelta(days=KEEP)
    assert judgement.by_clock == TODAY + timedelta(days=365 - KEEP)
    refusal = judgement.refusal([])
    assert refusal is not None
    assert "2027-11-28 00:30" in refusal.reason
    assert refusal.confirmable == 0


@pytest.mark.parametrize(
    ("seconds", "refused"), [(3600, False), (-3600, False), (3601, True), (-3601, True)]
)
def test_an_hour_between_the_clocks_is_borne_also_over_midnight(
    seconds: int, refused: bool
) -> None:
    machine = at(TODAY, 0)
    facts = ClockFacts(
        machine, machine + timedelta(seconds=seconds), INSTALLED, days(INSTALLED, TODAY)
    )
    judgement = judge(facts, KEEP)
    assert (judgement.refusal([]) is not None) == refused
    if not refused:
        assert judgement.first_kept == judgement.by_clock


offsets = st.integers(-500, 900)
stretches = st.lists(st.tuples(offsets, st.integers(1, 400)), max_size=5).map(
    lambda found: frozenset(first + n for first, length in found for n in range(length))
)


@given(stretches, offsets, offsets, st.integers(7, 400))
def test_no_day_is_due_before_more_days_than_its_retention_were_seen_after_it(
    seen: frozenset[int], today: int, installed: int, keep: int
) -> None:
    def day(offset: int) -> date:
        return TODAY + timedelta(days=offset)

    signs = frozenset(map(day, seen))
    judgement = judged(day(today), signs, keep, day(installed))
    assert judgement.first_kept <= judgement.by_clock
    newest_due = judgement.first_kept - timedelta(days=1)
    since = [
        each for each in signs | {day(today), day(installed)} if newest_due < each <= day(today)
    ]
    if installed <= today:
        since += [
            each
            for each in days(newest_due + timedelta(days=1), day(installed))
            if each not in since
        ]
        assert len(since) > keep
        # And not later: no day that is kept has been followed by more of them.
        kept = judgement.first_kept
        counted = {
            each
            for each in signs | {day(today)}
            if each > kept and day(installed) <= each <= day(today)
        }
        counted |= (
            days(kept + timedelta(days=1), day(installed)) if kept < day(installed) else frozenset()
        )
        assert len(counted) <= keep
    # Once the unseen days are confirmed, the clock and the signs agree.
    again = judged(day(today), signs | {*judgement.unseen}, keep, day(installed))
    assert again.first_kept == again.by_clock
    assert again.unseen == []
