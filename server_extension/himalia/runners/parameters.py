"""Parameters become a cell, by papermill's convention, and never as raw text.

https://papermill.readthedocs.io/en/latest/usage-parameterize.html: the cell tagged
``injected-parameters`` follows the one tagged ``parameters``, or comes first.
"""

from __future__ import annotations

import json
import keyword
import math
import re
import secrets
from collections.abc import Callable
from typing import Any

from himalia.runners.failure import RunFailed

DEFAULTS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"
_NAME = re.compile(r"^[^\W\d]\w*$")


class _Unspeakable(Exception):
    """A value that the language has no safe literal for."""


def inject(notebook: dict[str, Any], parameters: dict[str, Any], language: str) -> None:
    """Put a cell with `parameters` into a version 4 notebook; without any, change nothing.

    :raises RunFailed: the language or a value cannot be expressed.
    """
    if not parameters:
        return
    cell = _cell(notebook, source_of(parameters, language))
    cells = notebook["cells"]
    earlier = _tagged(cells, INJECTED_TAG)
    if earlier is not None:
        cells[earlier] = cell
        return
    defaults = _tagged(cells, DEFAULTS_TAG)
    cells.insert(0 if defaults is None else defaults + 1, cell)


def source_of(parameters: dict[str, Any], language: str) -> str:
    """Write assignments in a kernel's language.

    :raises RunFailed: the language or a value cannot be expressed.
    """
    writer = _WRITERS.get(language.lower())
    if writer is None:
        raise RunFailed(
            "parameter_invalid", f"Parameters cannot be given to a notebook in {language!r} yet."
        )
    comment, assign = writer
    lines = [f"{comment} Parameters"]
    for name, value in parameters.items():
        if not _NAME.match(name):
            raise RunFailed("parameter_invalid", f"Parameter {name!r}: that is not a name.")
        try:
            lines.append(assign(name, value))
        except _Unspeakable as error:
            raise RunFailed("parameter_invalid", f"Parameter {name!r}: {error}") from error
    return "\n".join(lines) + "\n"


def _cell(notebook: dict[str, Any], source: str) -> dict[str, Any]:
    node = type(notebook)  # nbformat's own, or a plain dictionary
    cell = node(
        cell_type="code",
        execution_count=None,
        metadata=node(tags=[INJECTED_TAG]),
        outputs=[],
        source=source,
    )
    if (notebook.get("nbformat", 4), notebook.get("nbformat_minor", 0)) >= (4, 5):
        cell["id"] = secrets.token_hex(4)
    return cell


def _tagged(cells: list[dict[str, Any]], tag: str) -> int | None:
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code" and tag in (cell["metadata"].get("tags") or ()):
            return index
    return None


def _python(name: str, value: Any) -> str:
    if keyword.iskeyword(name):
        raise _Unspeakable("that is a word of the language")
    return f"{name} = {_python_value(value)}"


def _python_value(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{key!r}: {_python_value(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _quoted(text: str, *, wide: str) -> str:
    """Write a double-quoted literal of printable ASCII; `wide` formats what lies beyond 16 bits."""
    parts = []
    for character in text:
        number = ord(character)
        if character in '"\\$':
            parts.append(f"\\u{number:04x}")
        elif " " <= character <= "~":
            parts.append(character)
        elif number == 0 or 0xD800 <= number <= 0xDFFF:
            raise _Unspeakable("it holds a character that the language cannot write")
        else:
            parts.append(f"\\u{number:04x}" if number <= 0xFFFF else wide.format(number))
    return '"' + "".join(parts) + '"'


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise _Unspeakable("it is not a finite number")
    return repr(value)


def _r(name: str, value: Any) -> str:
    return f"`{name}` = {_r_value(value)}"


def _r_value(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int() | float():
            is_small = isinstance(value, int) and abs(value) < 2**31
            return f"{_number(value)}L" if is_small else _number(value)
        case str():
            return _quoted(value, wide="\\U{:08x}")
        case list():
            return "list(" + ", ".join(map(_r_value, value)) + ")"
        case _:
            items = (f"{_r_key(key)} = {_r_value(item)}" for key, item in value.items())
            return "list(" + ", ".join(items) + ")"


def _r_key(key: str) -> str:
    if not key:
        raise _Unspeakable("a name in it is empty, which the language cannot write")
    return _quoted(key, wide="\\U{:08x}")


def _julia(name: str, value: Any) -> str:
    return f"{name} = {_julia_value(value)}"


def _julia_value(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case str():
            # A dollar sign would interpolate, so it is written by its number like the rest.
            return _quoted(value, wide="\\U{:08x}")
        case list():
            return "Any[" + ", ".join(map(_julia_value, value)) + "]"
        case _:
            items = (f"{_julia_value(key)} => {_julia_value(item)}" for key, item in value.items())
            return "Dict{String, Any}(" + ", ".join(items) + ")"


def _scala(name: str, value: Any) -> str:
    return f"val `{name}` = {_scala_value(value)}"


def _scala_value(value: Any) -> str:  # noqa: PLR0911 - one for each type of JSON
    match value:
        case None:
            return "None"
        case bool():
            return "true" if value else "false"
        case int():
            if abs(value) < 2**31:
                return repr(value)
            return f"{value}L" if abs(value) < 2**63 else f'BigInt("{value}")'
        case float():
            return _number(value)
        case str():
            return _scala_text(value)
        case list():
            return "Seq(" + ", ".join(map(_scala_value, value)) + ")"
        case _:
            items = (f"{_scala_text(key)} -> {_scala_value(item)}" for key, item in value.items())
            return "Map(" + ", ".join(items) + ")"


def _scala_text(text: str) -> str:
    # Scala's older compilers put a \\u escape in before they look for the closing quote, so the
    # quote and the backslash are written in the other way; JSON's is right for both.
    if "\x00" in text:
        raise _Unspeakable("it holds a character that the language cannot write")
    return json.dumps(text, ensure_ascii=True)


def _bash(name: str, value: Any) -> str:
    if not name.isascii():
        raise _Unspeakable("that is not a name in the language")
    if isinstance(value, list):
        return f"{name}=(" + " ".join(map(_bash_value, value)) + ")"
    return f"{name}={_bash_value(value)}"


def _bash_value(value: Any) -> str:
    match value:
        case None:
            return "''"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _number(value)
        case str():
            if "\x00" in value:
                raise _Unspeakable("it holds a character that the language cannot write")
            return "'" + value.replace("'", "'\\''") + "'"
        case _:
            raise _Unspeakable("the language has no literal for a value inside a value")


_WRITERS: dict[str, tuple[str, Callable[[str, Any], str]]] = {
    "python": ("#", _python),
    "r": ("#", _r),
    "julia": ("#", _julia),
    "scala": ("//", _scala),
    "bash": ("#", _bash),
    "sh": ("#", _bash),
}
