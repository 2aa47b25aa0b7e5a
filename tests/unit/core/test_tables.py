"""Tables for spreadsheets: what a cell says is a text, never a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from himalia.core.tables import USAGE, csv_of, csv_row
from himalia.core.team import UsageEntry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(title: str) -> UsageEntry:
    return UsageEntry(
        id="run-1-1", kind="job", owner="alice-x", name="alice", groups=("a", "b"),
        object_id="run-1", title=title, cpu=1.5, started_at=NOW,
    )  # fmt: skip


async def rows(titles: list[str]) -> AsyncIterator[UsageEntry]:
    for title in titles:
        yield entry(title)


async def read(titles: list[str]) -> list[dict[str, str]]:
    pieces = [piece async for piece in csv_of(rows(titles), USAGE)]
    return list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))


async def test_a_table_reads_back_as_it_was_written() -> None:
    titles = ["plain", 'with "quotes", commas', "two\nlines", "ünï", ""]
    found = await read(titles)
    assert [row["title"] for row in found] == titles
    assert found[0]["cpu"] == "1.5"
    assert found[0]["memory_bytes"] == ""
    assert found[0]["groups"] == "a b"
    assert datetime.fromisoformat(found[0]["started_at"]) == NOW


async def test_a_large_table_comes_in_pieces_and_whole() -> None:
    titles = [f"{number} {'x' * 200}" for number in range(1000)]
    pieces = [piece async for piece in csv_of(rows(titles), USAGE)]
    assert len(pieces) > 2
    assert [row["title"] for row in await read(titles)] == titles


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\ufeff+"])
def test_no_text_is_run_as_a_formula(start: str) -> None:
    text = f"{start}cmd|' /C calc'!A0"
    [row] = csv.reader(io.StringIO(csv_row([text, -1.5]), newline=""))
    assert row == [f"'{text}", "-1.5"]


def test_the_ledger_s_columns_are_all_of_an_entry() -> None:
    assert set(USAGE) == set(UsageEntry.model_fields)
