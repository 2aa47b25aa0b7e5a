"""Rows as CSV, made while they are read, and harmless where a spreadsheet opens them."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import TypeVar, cast

from himalia.core.team import UsageEntry

T = TypeVar("T")
Cell = str | int | float | datetime | None
Columns = Mapping[str, Callable[[T], Cell]]
"""How to get each column's cell from a row."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ROWS_A_CHUNK = 200

USAGE: Columns[UsageEntry] = {
    "id": lambda entry: entry.id,
    "kind": lambda entry: entry.kind,
    "owner": lambda entry: entry.owner,
    "name": lambda entry: entry.name,
    "groups": lambda entry: " ".join(entry.groups),
    "project": lambda entry: entry.project,
    "object_id": lambda entry: entry.object_id,
    "title": lambda entry: entry.title,
    "cpu": lambda entry: entry.cpu,
    "memory_bytes": lambda entry: entry.memory_bytes,
    "started_at": lambda entry: entry.started_at,
    "ended_at": lambda entry: entry.ended_at,
    "cpu_seconds": lambda entry: entry.cpu_seconds,
    "peak_memory_bytes": lambda entry: entry.peak_memory_bytes,
}
"""The columns of the ledger."""


async def csv_of(rows: AsyncIterator[T], columns: Columns[T]) -> AsyncGenerator[bytes]:
    """Yield a CSV file of `rows` (RFC 4180, UTF-8), a header first."""
    text = csv_row(columns)
    waiting = 0
    async with aclosing(cast("AsyncGenerator[T]", rows)):
        async for row in rows:
            text += csv_row(get(row) for get in columns.values())
            waiting += 1
            if waiting == _ROWS_A_CHUNK:
                yield text.encode("utf-8", "replace")
                text, waiting = "", 0
    yield text.encode("utf-8", "replace")


def csv_row(cells: Iterable[Cell]) -> str:
    """Write one row; a text that a spreadsheet would run begins with an apostrophe."""
    line = io.StringIO()
    csv.writer(line).writerow([_cell(one) for one in cells])
    return line.getvalue()


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        plain = value.replace("\0", "")
        return f"'{plain}" if plain.lstrip(" \u00a0\ufeff").startswith(_FORMULA) else plain
    return str(value)
