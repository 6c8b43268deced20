"""The address and the host that go into an event's user hash, from headers of trusted proxies."""

from __future__ import annotations

import pytest
from support.books import stored_event
from support.waits import until
from support.wire import CREATE, Server, event, outcome

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize(
    ("chain", "same_as"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (["203.0.113.9 ,10.1.2.3,,  127.0.0.1"], "203.0.113.9"),
        (["203.0.113.9:1234, [2001:db8:ff::1]:443"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["2001:DB8:0:0::1"], "2001:db8::1"),
        (["6.6.6.6, no-address"], ""),
        (["203.0.113.9, <script>"], ""),
        ([""], ""),
        ([], ""),
        (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
    ],
)
def test_address_in_the_hash(api: Server, rows: Connection, chain: list[str], same_as: str) -> None:
    """The address is the last one that no trusted proxy has; a missing one is counted as a gap."""
    fields, before = event(), gaps(rows)
    request = api.request(CREATE, {"input": fields}, headers={"x-forwarded-for": None})  # type: ignore[dict-item]
    headers = [*request["headers"].items(), *(("x-forwarded-for", value) for value in chain)]
    answer = api.post({"content": request["content"], "headers": headers}).json()
    assert outcome(answer) == ("accepted", None)
    assert stored_event(rows, fields)["user_hash"] == api.expected_hash(
        "admin.example.org", same_as, "Chrome|150|macOS"
    )
    missing, invalid = (now - then for now, then in zip(gaps(rows), before, strict=True))
    given = bool("".join(chain).strip(" ,"))
    assert (missing, invalid) == ((0, 0) if same_as else (0, 1) if given else (1, 0))
    if not same_as:
        until(lambda: "SIGNAL_TRUSTED_PROXIES" in "".join(api.log))


def gaps(rows: Connection) -> tuple[int, int]:
    """Events without an address, and with an invalid one."""
    row = rows.execute(
        "select coalesce(sum(missing), 0)::int, coalesce(sum(invalid), 0)::int from"
        " signal.address_gaps"
    ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


@pytest.mark.parametrize(
    ("host", "hashed"),
    [
        ("Other.Example.ORG.:8443", "other.example.org"),
        ("no host!", "admin.example.org"),
        ("", "admin.example.org"),
        ("forged.example.org, real.example.org", "real.example.org"),
    ],
)
def test_host_in_the_hash(api: Server, rows: Connection, host: str, hashed: str) -> None:
    """The host is the one that a trusted proxy forwarded, else the app's own."""
    fields = event()
    assert outcome(api.create(fields, headers={"x-forwarded-host": host})) == ("accepted", None)
    assert stored_event(rows, fields)["user_hash"] == api.expected_hash(
        hashed, "203.0.113.9", "Chrome|150|macOS"
    )


@pytest.mark.parametrize(
    "values", [["a.example, app.example"], ["a.example", "b.example, app.example:443"]]
)
def test_a_client_cannot_choose_its_host(api: Server, rows: Connection, values: list[str]) -> None:
    """A proxy appends the address that it saw.

    The text left of it comes from the client, which could change it with each request.
    """
    fields = event()
    request = api.request(CREATE, {"input": fields})
    headers = [*request["headers"].items(), *(("x-forwarded-host", value) for value in values)]
    assert outcome(api.post({"content": request["content"], "headers": headers}).json()) == (
        "accepted",
        None,
    )
    assert stored_event(rows, fields)["user_hash"] == api.expected_hash(
        "app.example", "203.0.113.9", "Chrome|150|macOS"
    )
