"""An estate for each test, on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Engine, event

from tests.servers.estate import Estate, opened
from tests.servers.postgres import Postgres


@pytest.fixture
def sqlite_address(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return str(tmp_path / "store.db")


@pytest.fixture(params=["sqlite", "postgres"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    database = server.create()
    yield server.url(database)
    server.drop(database)


@pytest_asyncio.fixture
async def estate(store_address: str, tmp_path: Path) -> AsyncIterator[Estate]:
    """A store with nobody in it, and its administration."""
    async with opened(store_address, tmp_path / "home") as made:
        yield made


@pytest.fixture
def count_statements() -> Iterator[Callable[[], int]]:
    """Count what any database is asked; transactions' begin and end are no questions."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(Engine, "before_cursor_execute", note)
    yield lambda: count
    event.remove(Engine, "before_cursor_execute", note)
