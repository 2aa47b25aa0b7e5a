"""Failures of the database are told in plain words, and change nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection
from sqlalchemy.exc import IntegrityError

from himalia.core.errors import NotFound, Unavailable
from himalia.core.model import Run, Workload
from himalia.core.service import RunQuery
from himalia.core.spec import Spec
from himalia.store import database
from himalia.store.database import store_url
from himalia.store.sql import SqlStore

pytestmark = pytest.mark.asyncio


async def test_a_full_disk_is_said_and_nothing_is_half_written(
    store: SqlStore, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    await store.workloads.insert(workload)

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    await store._database.write(limit)
    large = {"text": "x" * 10_000}
    with pytest.raises(Unavailable, match="is full"):
        await store.runs.insert([make_run(parameters=large) for _ in range(50)])
    assert (await store.runs.list("ann", RunQuery())).items == ()
    assert (await store.workloads.get("ann", "job", workload.id)) == workload


async def test_a_store_that_another_process_keeps_busy_is_said_to_be(
    path: Path,
    new_store: Callable[[], SqlStore],
    workload: Workload[Spec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    store = new_store()
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="is busy"):
        await store.workloads.insert(workload)
    # Reading goes on.
    with pytest.raises(NotFound):
        await store.workloads.get("ann", "job", workload.id)
    other.execute("ROLLBACK")
    other.close()
    assert await store.workloads.insert(workload) == workload
    await store.close()


async def test_a_transaction_that_fails_changes_nothing(
    store: SqlStore, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    run = make_run()
    with pytest.raises(IntegrityError):
        await store.workloads.insert(workload, [run, run])
    with pytest.raises(NotFound):
        await store.workloads.get("ann", "job", workload.id)


async def test_a_closed_store_says_so_and_opens_again(
    store: SqlStore, workload: Workload[Spec]
) -> None:
    await store.workloads.insert(workload)
    await store.close()
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.workloads.get("ann", "job", workload.id)
    await store.open()
    assert await store.workloads.get("ann", "job", workload.id) == workload


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/a/store.db", URL.create("sqlite", database="/a/store.db")),
        (Path("/a b/ü?#%.db"), URL.create("sqlite", database="/a b/ü?#%.db")),
        (
            "postgresql+psycopg://u:p@h/d",
            URL.create("postgresql+psycopg", username="u", password="p", host="h", database="d"),
        ),
    ],
)
async def test_a_store_is_named_by_a_path_or_by_a_url(target: Any, url: URL) -> None:
    assert store_url(target) == url


async def test_any_name_of_a_folder_will_do(tmp_path: Path, workload: Workload[Spec]) -> None:
    path = tmp_path / "a b?mode=ro#ü%20" / "store.db"
    store = SqlStore(path, lambda _, __: workload.spec)
    await store.open()
    await store.workloads.insert(workload)
    await store.close()
    assert path.stat().st_size > 0
