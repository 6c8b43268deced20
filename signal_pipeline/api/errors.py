"""What the API says when it refuses. Texts are ours alone: no value of a request is ever repeated (design.md, "Traps")."""

from __future__ import annotations

from signal_pipeline.errors import SignalError


class ApiError(SignalError):
    """A refusal with a code for programs, a sentence for people, and the HTTP status of a request that is refused whole."""

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
