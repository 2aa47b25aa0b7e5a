"""The errors a user may see: one root, one slug each, a text that tells the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One thing wrong with one field of what the user sent."""

    field: str
    """Path of the field, dotted, as the user wrote it: ``spec.retries.count``."""
    message: str


class HimaliaError(Exception):
    """Something went wrong and the text is safe to show.

    Services raise it; handlers never catch it: the base handler turns it into
    ``{"error": {"code", "message", "details"}}`` with :attr:`http_status`.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems


class InvalidInput(HimaliaError):
    """A field is missing, unknown, of the wrong type or refers to something that is not there."""

    code = "invalid_input"
    http_status = 400

    @classmethod
    def of(cls, field: str, message: str) -> InvalidInput:
        """Name one field and what is wrong with it."""
        return cls(f"{field}: {message}", problems=(FieldProblem(field=field, message=message),))


class Unauthenticated(HimaliaError):
    """Nobody is logged in."""

    code = "unauthenticated"
    http_status = 401


class Forbidden(HimaliaError):
    """The user may not do this at all, whoever owns the object."""

    code = "forbidden"
    http_status = 403


class NotFound(HimaliaError):
    """It is not there, or it is somebody else's: the two look the same."""

    code = "not_found"
    http_status = 404


class MethodNotAllowed(HimaliaError):
    """The address exists but not with this method."""

    code = "method_not_allowed"
    http_status = 405


class Conflict(HimaliaError):
    """The object's present state does not allow this, or an idempotency key was used otherwise."""

    code = "conflict"
    http_status = 409


class TooLarge(HimaliaError):
    """The request or the inputs are larger than allowed."""

    code = "too_large"
    http_status = 413


class TooMany(HimaliaError):
    """A limit on the number of things was reached; try again later."""

    code = "too_many"
    http_status = 429


class Unavailable(HimaliaError):
    """The service cannot answer just now: it starts, stops, or its disk is full."""

    code = "unavailable"
    http_status = 503


EVERY_ERROR: tuple[type[HimaliaError], ...] = (
    InvalidInput,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    TooMany,
    Unavailable,
)
"""What travels over REST; others, of a part's own, never leave their process."""
