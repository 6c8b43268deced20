"""Messages to the addresses of `SIGNAL_ALERT_URLS` (mail, chat, a webhook), sent through Apprise.

The addresses are secrets: no error, log line or result here holds an address or a part of one. An
address is named by its place in the list and by its kind of service.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from signal_pipeline.settings import Settings, SettingsError

if TYPE_CHECKING:  # Part of an extra.
    import apprise

# The log lines of Apprise and of the clients that it uses hold hosts, paths and tokens of
# addresses.
TALKATIVE = ("apprise", "requests", "urllib3")
# An address can hold a comma. So commas and spaces separate two addresses only if a scheme follows.
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9_+-]*://)")


@dataclass(frozen=True, slots=True)
class Message:
    """What people are told: a title, one line of text, and its kind: bad, good or neutral news."""

    title: str
    text: str
    kind: Literal["failure", "success", "info"] = "failure"


class Address:
    """One place that messages go to.

    `name` says which one it is, and reveals nothing of the address.
    """

    def __init__(self, sender: apprise.Apprise, name: str) -> None:
        self.name = name
        self._sender = sender

    def send(self, message: Message) -> bool:
        """Send a message; return whether it was taken.

        Raises nothing. Waits a few seconds for a server that does not answer.
        """
        with _silent_loggers():
            try:
                # Sent as plain text; the sender escapes it where a service takes markup.
                taken = self._sender.notify(
                    message.text, message.title, message.kind, body_format="text"
                )
            except Exception:  # The error is a plugin's, and its text can hold the address.
                return False
        return bool(taken)


def check_sender(settings: Settings) -> None:
    """Raise SettingsError if messages are wanted and the extra that sends them is not installed.

    This imports nothing.
    """
    if settings.alert_urls is not None and find_spec("apprise") is None:
        raise SettingsError(
            "SIGNAL_ALERT_URLS is set, but Apprise, which sends the messages, is not installed:"
            " install signal-pipeline[alerts], or unset the variable"
        )


def open_addresses(settings: Settings) -> list[Address]:
    """Return the addresses of `SIGNAL_ALERT_URLS`, or none if it is not set; connect to none.

    Raises SettingsError if Apprise is missing, and for an address that Apprise does not understand.
    """
    check_sender(settings)
    if settings.alert_urls is None:
        return []
    urls = [
        url.strip(" ,")
        for url in _BETWEEN.split(settings.alert_urls.get_secret_value().strip(" ,\n"))
    ]
    return [_open(url, number, len(urls)) for number, url in enumerate(urls, 1)]


def _open(url: str, number: int, count: int) -> Address:
    import apprise  # Importing it takes a second, and its plugins two more.

    with _silent_loggers():
        # In memory, because Apprise can otherwise store in a folder what it knows of an address.
        sender = apprise.Apprise(asset=apprise.AppriseAsset(storage_mode="memory"))
        service = apprise.Apprise.instantiate(url, asset=sender.asset)
    if service is None or not sender.add(service):
        raise SettingsError(
            f"SIGNAL_ALERT_URLS: address {number} of {count} is not one that Apprise understands:"
            " write it as its documentation does, such as json://example.org/path"
        )
    return Address(sender, f"address {number} of {count} ({service.service_name})")


@contextmanager
def _silent_loggers() -> Iterator[None]:
    loggers = {logger: logger.level for logger in map(logging.getLogger, TALKATIVE)}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
