"""Threat 95: whatever happens to the SQLite file, nothing acknowledged is lost without a word."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from himalia.core.errors import Unavailable
from himalia.kinds.job import JobSpec
from himalia.store.sql import SqlStore

# Forks writers that say what was acknowledged, and kills each after a while.
WRITERS = """
import asyncio, json, os, random, select, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from himalia.core.model import Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.kinds.job import JobSpec
from himalia.store.base import Change, Key
from himalia.store.sql import SqlStore

path, kills, writers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

async def write(pipe):
    def say(*words):
        os.write(pipe, (json.dumps(words) + "\\n").encode())
    store = SqlStore(path, lambda kind, stored: JobSpec.model_validate(stored))
    await store.open()
    now = datetime.now(UTC)
    while True:
        workload = Workload(
            id=new_id("wkl"), kind="job", owner="ann", name="w", root="/", created_at=now,
            updated_at=now, spec=JobSpec(notebook="a.ipynb", tags=("t",),
                notify=[{"webhook": "http://localhost/x"}]),
        )
        run_id = new_id("run")
        run = Run(
            id=run_id, workload_id=workload.id, workload_name="w", kind="job", owner="ann",
            trigger=Trigger.USER, status=Status.QUEUED, flow_id=run_id, created_at=now,
            parameters={"text": "x" * random.randrange(8000)}, tags=("t",),
        )
        await store.workloads.insert(
            workload, [run], key=Key(owner="ann", key=workload.id, digest="d"))
        say("inserted", run_id)
        held = await store.holds.claim("h", now=now, lease_until=now, limit=1)
        for one in held:
            done = await store.holds.change(one.run.id, one.token, Change(status=Status.SUCCEEDED))
            if done is not None:
                say("ended", one.run.id)

def start():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        asyncio.run(write(writing))
    os.close(writing)
    return child, open(reading, "rb")

said = []
for _ in range(kills):
    children = [start() for _ in range(writers)]
    select.select([pipe for _, pipe in children], [], [], 30)
    time.sleep(random.random() * 0.05)
    for child, _ in children:
        os.kill(child, signal.SIGKILL)
    for child, pipe in children:
        os.waitpid(child, 0)
        said += [line for line in pipe.read().decode().splitlines(True) if line.endswith("\\n")]
print("[" + ",".join(said) + "]")
"""


def _write_and_kill(path: Path, kills: int, writers: int = 1) -> tuple[set[str], set[str]]:
    """Return the runs whose insert, and those whose end, was acknowledged."""
    arguments = [str(path), str(kills), str(writers)]
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, *arguments], check=True, stdout=subprocess.PIPE
    )
    said = json.loads(done.stdout)
    inserted = {run for what, run in said if what == "inserted"}
    return inserted, {run for what, run in said if what == "ended"}


def _open(path: Path) -> None:
    async def open_and_close() -> None:
        store = SqlStore(path, lambda _, stored: JobSpec.model_validate(stored))
        await store.open()
        await store.close()

    asyncio.run(open_and_close())


def _refusal(path: Path) -> str | None:
    try:
        _open(path)
    except Unavailable as error:
        return error.message
    return None


def _ask(path: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute(statement)]
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "store.db"


@pytest.mark.parametrize("writers", [1, 3])
def test_095_what_a_killed_writer_was_told_is_there(path: Path, writers: int) -> None:
    inserted, ended = _write_and_kill(path, kills=24 // writers, writers=writers)
    _open(path)
    assert _ask(path, "PRAGMA integrity_check") == ["ok"]
    assert _ask(path, "PRAGMA foreign_key_check") == []
    assert len(inserted) >= 24 // writers
    assert inserted <= set(_ask(path, "SELECT id FROM runs"))
    assert ended <= set(_ask(path, "SELECT id FROM runs WHERE status = 'succeeded'"))
    # Each transaction is there as a whole or not at all.
    halves = """
        SELECT id FROM workloads WHERE id NOT IN (SELECT workload_id FROM runs)
        UNION ALL SELECT id FROM workloads WHERE id NOT IN (SELECT object_id FROM workload_tags)
        UNION ALL SELECT id FROM workloads WHERE id NOT IN (SELECT object_id FROM idempotency_keys)
        UNION ALL SELECT id FROM runs WHERE (live IS NULL) != (id IN (SELECT run_id FROM messages))
        UNION ALL SELECT run_id FROM messages GROUP BY run_id HAVING count(*) > 1
    """
    assert _ask(path, halves) == []


def test_095_a_store_whose_log_is_gone_is_sound(path: Path) -> None:
    for _ in range(3):
        _write_and_kill(path, kills=1)
        Path(f"{path}-wal").unlink(missing_ok=True)
        _open(path)
        assert _ask(path, "PRAGMA integrity_check") == ["ok"]


@pytest.mark.parametrize("with_log", [True, False])
def test_095_a_truncated_store_is_whole_or_refused(
    path: Path, tmp_path: Path, with_log: bool
) -> None:
    inserted, _ = _write_and_kill(path, kills=3)
    if not with_log:
        _open(path)
    size = path.stat().st_size
    refused = 0
    for tenth in range(10):
        copy = tmp_path / f"copy{tenth}" / "store.db"
        shutil.copytree(path.parent, copy.parent)
        with copy.open("r+b") as file:
            file.truncate(size * tenth // 10)
        told = _refusal(copy)
        if told is None:
            assert inserted <= set(_ask(copy, "SELECT id FROM runs"))
        else:
            refused += 1
            assert "Put back a copy" in told
    assert refused >= (1 if with_log else 10)


def test_095_writers_wait_for_each_other(path: Path) -> None:
    _open(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        store = SqlStore(path, lambda _, stored: JobSpec.model_validate(stored))
        await store.open()
        waiting = asyncio.ensure_future(store.messages.sent("none"))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        other.execute("ROLLBACK")
        await waiting
        await store.close()

    asyncio.run(write())
    other.close()
