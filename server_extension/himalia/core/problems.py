"""What pydantic found wrong, in plain words and by the names that the user wrote."""

from __future__ import annotations

from pydantic import ValidationError

from himalia.core.errors import FieldProblem, InvalidInput

_PROBLEMS_LIMIT = 50
_TOLD = 5
_SHOWN = 200

FORMS = {
    r"^[^\x00-\x1f\x7f]+$": "must be text without line breaks or other control characters",
    r"^[\w.:/ -]+$": "may hold letters, digits, spaces and _ . : / - only",
    r"^[\w.:/ -]*$": "may hold letters, digits, spaces and _ . : / - only",
    r"^[\x21-\x7e]+$": "must be characters of ASCII, without spaces",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "must be letters, digits and _, and not begin with a digit",
    r"^[^\x00]*$": "may not hold the character NUL",
    r"^[^\x00]+$": "may not hold the character NUL",
    r"^[^\W\d]\w*$": "must be letters, digits and _, and not begin with a digit",
    r"^[a-z]{3}-[0-9a-z]{26}$": "is not an id: three letters, a dash and 26 letters or digits",
    r"^https?://[^\s]+$": "must be an address that begins with http:// or https://",
    r"^[^@\s,;]+@[^@\s,;]+$": "must be one e-mail address: name@host",
    r"^smtps?://\S+$": "must be an address that begins with smtp:// or smtps://",
    r"^[A-Za-z_][\w.-]*$": "must be the name of an exporter: html, markdown …",
    r"^[a-z]+$": "must be lower-case letters",
    r"^([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?)?$": "may hold small letters, digits and, between "
    "them, hyphens: at most 42 characters",
}
"""Every pattern of a field, in words; a test holds this to the models."""


def invalid(error: ValidationError) -> InvalidInput:
    """Say what is wrong, without the values: one of them may be a secret."""
    problems = tuple(
        FieldProblem(
            field=_dotted(found["loc"]),
            message=_message(found["type"], found["msg"], found.get("ctx", {}).get("pattern")),
        )
        for found in error.errors(include_url=False, include_input=False)
    )[:_PROBLEMS_LIMIT]
    text = "; ".join(f"{problem.field}: {problem.message}" for problem in problems[:_TOLD])
    if len(problems) > _TOLD:
        text += f"; and {len(problems) - _TOLD} more"
    return InvalidInput(text, problems=problems)


def printable(text: str) -> str:
    """Return the beginning of `text`, fit to be shown anywhere."""
    shown = text[:_SHOWN].encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else "?" for char in shown)


def _dotted(location: tuple[int | str, ...]) -> str:
    return printable(".".join(str(part) for part in location)) or "body"


def _message(kind: str, text: str, pattern: str | None) -> str:
    if kind == "extra_forbidden":
        return "unknown field"
    if pattern is not None:
        return FORMS.get(pattern, "is not of the right form")
    return printable(text.removeprefix("Value error, "))
