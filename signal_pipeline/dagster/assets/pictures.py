"""Draws pictures and tables for the metadata of finished work; if one fails, the run does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from logging import Logger

import dagster as dg

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import DatabaseUnreachableError, safe_errors


def drawn(
    log: Logger, asset: str, day: date, pictures: Mapping[str, Callable[[], str]]
) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the pictures of an asset's day, each as Markdown under its name.

    A picture that cannot be drawn is left out, and the log of the run warns of it. The text of an
    error that is not Signal's own could quote a row, so the warning then has only its class. Raises
    DatabaseUnreachableError, since a run cannot go on without the database.
    """
    found: dict[str, dg.MarkdownMetadataValue] = {}
    for name, draw in pictures.items():
        try:
            with safe_errors():
                found[name] = dg.MetadataValue.md(draw())
        except DatabaseUnreachableError:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, SignalError) else type(error).__name__
            log.warning("the %s of %s, %s, is left out: %s", name, asset, day, reason)
    return found
