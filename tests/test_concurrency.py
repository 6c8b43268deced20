"""Results in order, while later work is prepared or under way."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import pytest
from support.waits import PATIENCE_SECONDS

from signal_pipeline.concurrency import run_while_preparing, short_switch_interval, submit_ahead


def test_results_come_in_order_while_later_calls_run() -> None:
    second_began = threading.Event()

    def first() -> str:
        assert second_began.wait(PATIENCE_SECONDS)
        return "first"

    def second() -> str:
        second_began.set()
        return "second"

    with ThreadPoolExecutor(2) as pool:
        results = [each.result() for each in submit_ahead(pool, [first, second], 1)]
    assert results == ["first", "second"]


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_calls_are_submitted_than_asked_for(ahead: int) -> None:
    submitted = []

    def calls() -> Iterator[Callable[[], int]]:
        for number in count():
            submitted.append(number)
            yield partial(int, number)

    with ThreadPoolExecutor(1) as pool:
        results = submit_ahead(pool, calls(), ahead)
        assert [next(results).result() for _ in range(5)] == list(range(5))
    assert submitted == list(range(5 + ahead))


def test_the_next_call_is_prepared_while_one_runs() -> None:
    prepared = threading.Event()

    def wait() -> bool:
        return prepared.wait(PATIENCE_SECONDS)

    def calls() -> Iterator[Callable[[], bool]]:
        yield wait
        prepared.set()
        yield wait

    with ThreadPoolExecutor(1) as pool:
        assert list(run_while_preparing(pool, calls())) == [True, True]


def test_no_call_begins_after_one_that_failed() -> None:
    ran = []

    def fail() -> None:
        ran.append("failed")
        raise RuntimeError("the machine went away")

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="went away"):
        list(run_while_preparing(pool, [fail, partial(ran.append, "after")]))
    assert ran == ["failed"]


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_the_call_that_runs_is_answered_though_the_next_cannot_be_prepared(
    error: type[BaseException],
) -> None:
    def calls() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        yield lambda: 2
        raise error

    answered: list[int] = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(error):
        answered.extend(run_while_preparing(pool, calls()))
    assert answered == [1, 2]


def test_the_call_that_runs_is_answered_though_the_caller_is_interrupted() -> None:
    waits = threading.Event()
    caller = threading.get_ident()

    def interrupt() -> int:
        assert waits.wait(PATIENCE_SECONDS)
        signal.pthread_kill(caller, signal.SIGINT)
        return 2

    def calls() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        yield interrupt
        waits.set()  # From here on, the caller only waits for the call that runs.

    answered: list[int] = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        answered.extend(run_while_preparing(pool, calls()))
    assert answered == [1, 2]


def test_the_switch_interval_is_as_before_when_the_last_user_leaves() -> None:
    usual = sys.getswitchinterval()
    first, second = short_switch_interval(), short_switch_interval()
    first.__enter__()
    second.__enter__()
    assert sys.getswitchinterval() < usual
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() < usual
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == usual


def test_the_switch_interval_is_as_before_after_a_failure() -> None:
    usual = sys.getswitchinterval()
    with pytest.raises(RuntimeError), short_switch_interval():
        raise RuntimeError("the machine went away")
    assert sys.getswitchinterval() == usual
