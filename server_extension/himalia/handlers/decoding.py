"""From bytes that anybody may have sent to checked models, or one clear error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_origin
from urllib.parse import unquote_to_bytes

from pydantic import JsonValue, ValidationError

from himalia.core.errors import InvalidInput, TooLarge
from himalia.core.problems import invalid, printable
from himalia.core.spec import Model

M = TypeVar("M", bound=Model)

ROOT_HEADER = "Himalia-Root"
"""Says, percent-encoded, where the caller's relative paths start."""
BODY_LIMIT = 4 * 2**20
"""Bytes; parameters are values, not data sets."""
_DEPTH_LIMIT = 64
_DIGITS_LIMIT = 1000
"""Characters of a name or a message that are sent back."""
_HEADER_TEXT = re.compile(r"^[!-~]{1,200}$")


def decode_body(data: bytes, model: type[M]) -> M:
    """Check a request's JSON against `model`; nothing at all is an empty object.

    Types are strict: a number in quotes is not a number.

    :raises InvalidInput: naming each field that is wrong or unknown.
    :raises TooLarge: there are more than `BODY_LIMIT` bytes.
    """
    if len(data) > BODY_LIMIT:
        raise TooLarge(f"The request has more than {BODY_LIMIT // 2**20} MiB.")
    data = data.strip() or b"{}"
    if not isinstance(decode_json(data), dict):
        raise InvalidInput.of("body", "must be a JSON object")
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise invalid(error) from error


def decode_root(sent: str) -> Path:
    """Check what `ROOT_HEADER` says (:raises InvalidInput: no absolute path)."""
    try:
        text = unquote_to_bytes(sent).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput.of(ROOT_HEADER, "is not UTF-8") from error
    root = Path(text)
    if not root.is_absolute() or "\0" in text or ".." in root.parts:
        raise InvalidInput.of(ROOT_HEADER, "must be an absolute path")
    return root


def decode_json(data: bytes) -> JsonValue:
    """Read JSON of RFC 8259, without what other readers understand differently.

    :raises InvalidInput: invalid UTF-8 or JSON, a name twice in an object, NaN and infinities,
        lone surrogates, nesting or numbers out of all proportion.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput.of("body", f"is not UTF-8 at byte {error.start}") from error
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput.of("body", f"is not JSON at {where}: {error.msg}") from error
    except RecursionError as error:
        raise _too_deep() from error
    if data.count(b"[") + data.count(b"{") > _DEPTH_LIMIT:
        _check_depth(value)
    if b"\\ud" in data.lower():
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made: dict[str, JsonValue] = {}
    for name, value in pairs:
        if name in made:
            shown = printable(name)
            raise InvalidInput.of(shown, "is there twice")
        made[name] = value
    return made


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_LIMIT:
        raise InvalidInput.of("body", f"has a number of more than {_DIGITS_LIMIT} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise InvalidInput.of("body", f"has a number that is too large: {digits[:40]}")
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidInput.of("body", f"has {name}, which is not JSON")


def _check_depth(value: JsonValue) -> None:
    level: list[Any] = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> InvalidInput:
    return InvalidInput.of("body", f"is nested more than {_DEPTH_LIMIT} deep")


def _check_surrogates(value: JsonValue) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput.of("body", "has half of a surrogate pair in a text") from error


def decode_query(arguments: Mapping[str, Sequence[bytes]], model: type[M]) -> M:
    """Check a request's query parameters against `model`.

    :raises InvalidInput: naming each parameter that is wrong, unknown or there twice.
    """
    found: dict[str, str | list[str]] = {}
    for name, values in arguments.items():
        field = model.model_fields.get(name)
        if field is None:
            raise InvalidInput.of(printable(name), "unknown query parameter")
        try:
            texts = [value.decode() for value in values]
        except UnicodeDecodeError as error:
            raise InvalidInput.of(name, "is not UTF-8") from error
        if get_origin(field.annotation) is tuple:
            found[name] = texts
        elif len(texts) > 1:
            raise InvalidInput.of(name, "is there twice")
        else:
            found[name] = texts[0]
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise invalid(error) from error


def decode_header(name: str, value: str | None) -> str | None:
    """Check a header that is a short opaque text.

    :raises InvalidInput: naming the header.
    """
    if value is not None and not _HEADER_TEXT.match(value):
        raise InvalidInput.of(name, "must be 1 to 200 printable ASCII characters without spaces")
    return value
