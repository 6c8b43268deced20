"""What the API says when it refuses. Texts are ours alone: no value of a request is ever
repeated.
"""

from __future__ import annotations

import logging

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import DatabaseError, DatabaseUnreachableError

logger = logging.getLogger(__name__)


class ApiError(SignalError):
    """A refusal with a code for programs, a sentence for people, and the HTTP status of a request
    that is refused whole.
    """

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def unauthenticated(message: str) -> ApiError:
    """Whoever is calling did not prove it."""
    return ApiError("UNAUTHENTICATED", message, 401)


def forbidden(message: str) -> ApiError:
    """The caller is known, but may not do this."""
    return ApiError("FORBIDDEN", message)


def bad_input(message: str) -> ApiError:
    """The request is well formed but cannot be answered."""
    return ApiError("BAD_USER_INPUT", message)


def unavailable(message: str) -> ApiError:
    """The database cannot answer now; the same request may be sent again."""
    return ApiError("SERVICE_UNAVAILABLE", message, 503)


def unserved(error: DatabaseError) -> ApiError | None:
    """Why the database serves nobody here, logged for the operator; None where that is not known of
    anything but one request.
    """
    if isinstance(error, DatabaseUnreachableError) or error.passes:
        logger.warning("%s", error)
        return unavailable("the database cannot be reached: send the same request again later")
    if error.not_here:
        logger.error("%s", error)
        return unavailable(
            "the database refuses this server, whose operator must look: send the same request"
            " again later"
        )
    return None
