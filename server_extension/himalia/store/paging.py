"""Pages of lists by keyset: a cursor names the last row seen, so every page costs the same."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, tuple_

from himalia.core.errors import InvalidInput
from himalia.core.model import Page
from himalia.core.names import is_id
from himalia.core.service import MAX_PAGE, Query

MAX_SEARCH = 200
_MAX_CURSOR = 2000
_MAX_ROW_ID = 300

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Where a page starts, how it is ordered and how long it is."""

    field: str
    """What is sorted by; the id decides among equals."""
    is_descending: bool
    limit: int
    after: tuple[str | int, str] | None
    _digest: str

    @classmethod
    def of(
        cls,
        owner: str,
        query: Query,
        sorts: Mapping[str, type],
        *,
        is_row_id: Callable[[str], bool] = is_id,
    ) -> Paging:
        """Read a query; `sorts` maps what it may sort by to the type of its keys.

        :raises InvalidInput: naming the field that is wrong.
        """
        field = query.sort.removeprefix("-")
        if field not in sorts:
            options = ", ".join(sorts)
            raise InvalidInput.of("sort", f"must be one of {options}, with - before it or not")
        if not 1 <= query.limit <= MAX_PAGE:
            raise InvalidInput.of("limit", f"must be from 1 to {MAX_PAGE}")
        if query.search is not None and len(query.search) > MAX_SEARCH:
            raise InvalidInput.of("search", f"must have at most {MAX_SEARCH} characters")
        for item in fields(query):
            value = getattr(query, item.name)
            if isinstance(value, str) and item.name != "cursor":
                _check_text(item.name, value)
        digest = _digest(owner, query)
        return cls(
            field=field,
            is_descending=query.sort.startswith("-"),
            limit=query.limit,
            after=_decode(query.cursor, digest, sorts[field], is_row_id),
            _digest=digest,
        )

    def condition(
        self, key: ColumnElement[Any], row_id: ColumnElement[Any]
    ) -> ColumnElement[bool] | None:
        """Make the condition that a row comes after the cursor."""
        if self.after is None:
            return None
        here, there = tuple_(key, row_id), tuple_(*self.after)
        return here < there if self.is_descending else here > there

    def order(self, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """Order by columns, the same way for all, so that an index can be read either way."""
        return [column.desc() if self.is_descending else column.asc() for column in columns]

    @property
    def probe(self) -> int:
        """How many rows to ask for: one more than wanted tells whether there is a next page."""
        return self.limit + 1

    def page(
        self,
        rows: Sequence[Row[Any]],
        decode: Callable[[Row[Any]], T],
        last: Callable[[Row[Any]], tuple[str | int, str]],
    ) -> Page[T]:
        """Make a page of rows; `last` gives the key and the id of a row."""
        shown = rows[: self.limit]
        cursor = _encode(self._digest, last(shown[-1])) if len(rows) > self.limit else None
        return Page[T].model_construct(items=tuple(map(decode, shown)), next_cursor=cursor)


def _check_text(name: str, text: str) -> None:
    try:
        is_bad = b"\0" in text.encode()
    except UnicodeEncodeError:
        is_bad = True
    if is_bad:
        raise InvalidInput.of(name, "is not text")


def _digest(owner: str, query: Query) -> str:
    parts = {
        item.name: getattr(query, item.name)
        for item in fields(query)
        if item.name not in {"limit", "cursor"}
    }
    text = json.dumps([type(query).__name__, owner, parts], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encode(digest: str, key: tuple[str | int, str]) -> str:
    text = json.dumps([digest, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def is_short_text(text: str) -> bool:
    """Tell whether `text` may be the id of a row whose ids are not made here."""
    return len(text) <= _MAX_ROW_ID and text.isprintable() and text.isascii()


def _decode(
    cursor: str | None, digest: str, key_type: type, is_row_id: Callable[[str], bool]
) -> tuple[str | int, str] | None:
    if cursor is None:
        return None
    found, key, row_id = _parts(cursor)
    is_sane = type(key) is key_type and isinstance(row_id, str) and is_row_id(row_id)
    if not is_sane or (isinstance(key, int) and not -(2**63) <= key < 2**63):
        raise _bad_cursor()
    if isinstance(key, str):
        _check_text("cursor", key)
    if found != digest:
        raise InvalidInput.of("cursor", "belongs to another list, sort or filter; start anew")
    return key, row_id


def _parts(cursor: str) -> tuple[Any, Any, Any]:
    if len(cursor) > _MAX_CURSOR:
        raise _bad_cursor()
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found, key, row_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise _bad_cursor() from error
    return found, key, row_id


def _bad_cursor() -> InvalidInput:
    return InvalidInput.of("cursor", "is not one that a list gave")
