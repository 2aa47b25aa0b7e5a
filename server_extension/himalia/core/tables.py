"""Tables as CSV, for spreadsheets: UTF-8, commas, CRLF, a header first."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import datetime

from himalia.core.spec import Model
from himalia.core.team import UsageEntry

USAGE_COLUMNS = tuple(UsageEntry.model_fields)
# Spreadsheets run a text that begins so as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_PIECE_CHARS = 65_536


def csv_row(values: Iterable[object]) -> str:
    """Write one row; texts that a spreadsheet would run are quoted as texts."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_cell(value) for value in values])
    return buffer.getvalue()


async def csv_of(rows: AsyncIterable[Model], columns: tuple[str, ...]) -> AsyncIterator[bytes]:
    """Write models as a table in pieces, the fields named `columns` in that order."""
    text = csv_row(columns)
    async for row in rows:
        text += csv_row(getattr(row, column) for column in columns)
        if len(text) >= _PIECE_CHARS:
            yield text.encode()
            text = ""
    yield text.encode()


def _cell(value: object) -> object:
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
