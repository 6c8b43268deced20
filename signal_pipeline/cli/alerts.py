"""The command that tries the addresses of `SIGNAL_ALERT_URLS`: `alert-test`."""

from __future__ import annotations

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Json
from signal_pipeline.errors import SignalError
from signal_pipeline.settings import load_settings


def alert_test(as_json: Json = False) -> None:
    """Send a test message to each address of SIGNAL_ALERT_URLS.

    Exits 1 unless every address takes it.
    """
    from signal_pipeline.dagster.notifications import Message, open_addresses

    addresses = open_addresses(load_settings())
    if not addresses:
        raise SignalError("SIGNAL_ALERT_URLS is not set: nobody would be told of anything")
    test = Message(
        "Signal: test",
        "a test of SIGNAL_ALERT_URLS by `signal-pipeline alert-test`: nothing is wrong",
        "info",
    )
    sent = {address.name: address.send(test) for address in addresses}
    for name, taken in sent.items():
        console.say(f"{name}: {'sent' if taken else 'not taken'}")
    if as_json:
        console.print_json(
            {
                "sent": sum(sent.values()),
                "failed": [name for name, taken in sent.items() if not taken],
            }
        )
    if not all(sent.values()):
        raise SignalError(
            f"{list(sent.values()).count(False)} of {len(sent)} address(es) took no message: check"
            " each one against Apprise's documentation of its service, and that this machine can"
            " reach it"
        )
