"""The texts and codes with which the API refuses. No text ever repeats a value of a request."""

from __future__ import annotations

import asyncio
import logging

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import DatabaseError, DatabaseUnreachableError

logger = logging.getLogger(__name__)


class ApiError(SignalError):
    """A refusal, with a code for programs and a sentence for people.

    `status` is the HTTP status of a request that is refused as a whole. A status of 500 or above is
    also the status of an answer in which only one field is refused.
    """

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class MayBeStoredError(ApiError):
    """The refusal of a request whose events can still be stored after the answer.

    `is_stored` says later whether they were.
    """

    def __init__(self, refusal: ApiError, is_stored: asyncio.Future[bool]) -> None:
        super().__init__(refusal.code, str(refusal), refusal.status)
        self.is_stored = is_stored


def unauthenticated(message: str) -> ApiError:
    """Return the refusal of a caller who has not proven who they are."""
    return ApiError("UNAUTHENTICATED", message, 401)


def forbidden(message: str) -> ApiError:
    """Return the refusal of a known caller who may not do this."""
    return ApiError("FORBIDDEN", message)


def bad_input(message: str) -> ApiError:
    """Return the refusal of a request that is well formed but cannot be answered."""
    return ApiError("BAD_USER_INPUT", message)


def unavailable(message: str) -> ApiError:
    """Return the refusal for a database that cannot answer now; the client can try again."""
    return ApiError("SERVICE_UNAVAILABLE", message, 503)


def log_as_unavailable(error: DatabaseError) -> ApiError | None:
    """Return the refusal for an error that affects everybody, and log it for the operator.

    Return None for an error that, as far as is known, concerns only one request.
    """
    if isinstance(error, DatabaseUnreachableError) or error.is_transient:
        logger.warning("%s", error)
        return unavailable("the database cannot be reached: send the same request again later")
    if error.is_misconfigured:
        logger.error("%s", error)
        return unavailable(
            "the database refuses this server, and its operator must fix that: send the same"
            " request again later"
        )
    return None
