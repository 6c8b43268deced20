"""A Redis that refuses Signal ends `serve` at its start; a Redis that is away does not."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
import redis
from support.waits import until
from support.wire import StartServer, run
from support.workers import TWO, all_answer, workers

from signal_pipeline.api.identity.rate_limit import RateLimit
from signal_pipeline.api.server import run_server
from signal_pipeline.settings import SettingsError, load_settings

pytestmark = pytest.mark.embedded_only

PASSWORD = "a-password"
SECRET = b"s" * 32
TODAY = date(2026, 3, 4)
LOGIN = f"somebody:{PASSWORD}@"
# The rights that the page tells people to give.
_, _, RULE = (
    (Path(__file__).parents[2] / "docs/api.md")
    .read_text(encoding="utf-8")
    .partition("ACL SETUSER signal on >PASSWORD ")
)
KEYS, *COUNTING = RULE.partition("\n")[0].split()

Answering = Callable[[bytes], int]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Starts servers that answer everything with the same bytes; gives their ports."""
    with ExitStack() as stack:

        def start(answer: bytes) -> int:
            class Answer(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    try:
                        while self.request.recv(65_536):
                            self.request.sendall(answer)
                    except ConnectionError:
                        pass

            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
            server.daemon_threads = True
            stack.enter_context(server)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            port: int = server.server_address[1]
            return port

        yield start


def passed(limit: RateLimit, events: int) -> int:
    """How many of these events of one person pass."""

    async def ask() -> int:
        return sum([await limit.hit("one", TODAY) is not None for _ in range(events)])

    return asyncio.run(ask())


WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
REFUSALS = [
    (WRONG, "its password"),
    (b"-NOAUTH Authentication required.\r\n", "its password"),
    (b"-ERR invalid password\r\n", "its password"),  # Before Redis 6.
    (b"-ERR wrong number of arguments for 'auth' command\r\n", "its password"),
    (b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n", "the rights"),
    (b"-ERR ACL failure in script: User somebody has no permissions\r\n", "the rights"),
    # It repeats what was sent.
    (f"-ERR unknown command `HELLO`, args: `{PASSWORD}`\r\n".encode(), "the rights"),
    (b"-ERR DB index is out of range\r\n", "no database of this number"),
    (b"-DENIED Redis is running in protected mode\r\n", "the rights"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Redis"),
]


@pytest.mark.parametrize(("answer", "said"), REFUSALS)
def test_serve_does_not_start_with_a_redis_that_refuses_it(
    api_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    answering: Answering,
    answer: bytes,
    said: str,
) -> None:
    for name, value in api_environment.items():
        monkeypatch.setenv(name, value)
    url = f"redis://{LOGIN}127.0.0.1:{answering(answer)}/0"
    monkeypatch.setenv("SIGNAL_RATE_LIMIT_URL", url)
    with pytest.raises(SettingsError, match=said) as refusal:
        run_server(load_settings(), "127.0.0.1", 0)
    assert "SIGNAL_RATE_LIMIT_URL" in str(refusal.value)
    assert PASSWORD not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_serve_does_not_start_where_tls_is_wanted_and_not_spoken(answering: Answering) -> None:
    """Redis itself would wait for the end of a line: only then does it look like one that hangs."""
    port = answering(b"-ERR Protocol error\r\n")
    with pytest.raises(SettingsError, match="TLS"):
        RateLimit(SECRET, f"rediss://127.0.0.1:{port}/0").check_storage()


def test_workers_do_not_start_with_a_redis_that_refuses_them(
    api_environment: dict[str, str], answering: Answering
) -> None:
    url = f"redis://{LOGIN}127.0.0.1:{answering(WRONG)}/0"
    done = run({**api_environment, "SIGNAL_RATE_LIMIT_URL": url}, "serve", "--port", "0", *TWO)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "its password" in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    "state",
    [
        b"-LOADING Redis is loading the dataset in memory",
        b"-MASTERDOWN Link with MASTER is down",
        b"-CLUSTERDOWN The cluster is down",
        b"-READONLY You can't write against a read only replica.",
        b"-OOM command not allowed when used memory > 'maxmemory'.",
        b"-MISCONF Redis is configured to save snapshots, but cannot",
        b"-BUSY Redis is busy running a script.",
        b"-NOREPLICAS Not enough good replicas to write.",
        b"-ERR Error running script (call to f_1): @user_script:42: -OOM command not allowed",
        b"-ERR max number of clients reached",
    ],
)
def test_a_redis_that_cannot_count_now_is_as_one_that_is_away(
    answering: Answering, state: bytes
) -> None:
    port = answering(state + b"\r\n")
    limit = RateLimit(SECRET, f"redis://127.0.0.1:{port}/0")
    limit.check_storage()
    assert passed(limit, 70) == 70


def test_a_redis_that_comes_later_and_refuses_is_an_error_in_the_log(
    answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    """Events pass: `serve` runs already."""
    with socket.create_server(("127.0.0.1", 0)) as away:
        port = away.getsockname()[1]
    RateLimit(SECRET, f"redis://{LOGIN}127.0.0.1:{port}/0").check_storage()
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    caplog.clear()
    limit = RateLimit(SECRET, f"redis://{LOGIN}127.0.0.1:{answering(WRONG)}/0")
    assert passed(limit, 70) == 70
    (line,) = caplog.records
    assert line.levelname == "ERROR"
    assert "its password" in line.getMessage()
    assert PASSWORD not in caplog.text


def allow(port: int, *rights: str) -> None:
    """Let a user of Redis do only this."""
    redis.Redis(port=port).acl_setuser(
        "somebody",
        enabled=True,
        reset=True,
        passwords=[f"+{PASSWORD}"],
        keys=[KEYS.removeprefix("~")],
        commands=rights,
    )


def test_the_documented_rights_of_a_user_of_redis_are_enough(redis_port: int) -> None:
    limit = RateLimit(SECRET, f"redis://{LOGIN}127.0.0.1:{redis_port}/1")
    allow(redis_port, *COUNTING)
    limit.check_storage()
    assert asyncio.run(_sent_twice(limit)) == 120


async def _sent_twice(limit: RateLimit) -> int:
    """How many of 60 events pass that are sent twice, since the first try could not be stored."""
    first = [await limit.hit("one", TODAY) for _ in range(60)]
    await limit.give_back(each for each in first if each is not None)
    second = [await limit.hit("one", TODAY) for _ in range(70)]
    return len([*filter(None, first), *filter(None, second)])


@pytest.mark.parametrize("missing", [each for each in COUNTING if each != "+rename"])
def test_a_right_that_is_missing_is_seen_at_the_start(redis_port: int, missing: str) -> None:
    """Only `rename` is not: it is first needed after a minute."""
    allow(redis_port, *(each for each in COUNTING if each != missing))
    with pytest.raises(SettingsError, match="the rights"):
        RateLimit(SECRET, f"redis://{LOGIN}127.0.0.1:{redis_port}/1").check_storage()


def test_redis_itself_refuses_a_wrong_password_and_number(redis_port: int) -> None:
    with pytest.raises(SettingsError, match="no database of this number"):
        RateLimit(SECRET, f"redis://127.0.0.1:{redis_port}/99").check_storage()
    redis.Redis(port=redis_port).config_set("requirepass", "another")
    for login in (f":{PASSWORD}@", LOGIN, ""):
        with pytest.raises(SettingsError, match="its password"):
            RateLimit(SECRET, f"redis://{login}127.0.0.1:{redis_port}/0").check_storage()


def test_a_worker_is_replaced_although_redis_has_begun_to_refuse(
    start: StartServer, redis_port: int
) -> None:
    """The server runs already, so a lost worker would be worse than a lost limit."""
    server = start(*TWO, SIGNAL_RATE_LIMIT_URL=f"redis://127.0.0.1:{redis_port}/0")
    redis.Redis(port=redis_port).config_set("requirepass", "another")
    old = set(workers(server))
    next(iter(old)).kill()
    until(lambda: set(workers(server)) - old)
    until(lambda: all_answer(server))
    assert server.stop() == 0
