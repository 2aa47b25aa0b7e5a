"""Migrations go forward, by number, all or nothing, and one process at a time."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from himalia.store import tables
from himalia.store.migrate import configuration, upgrade
from himalia.store.sql import SqlStore

Rows = list[tuple[str, str, str]]


def _schema(path: Path) -> Rows:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    connection.close()
    return sorted((kind, name, " ".join((sql or "").split())) for kind, name, sql in rows)


@pytest.fixture
def oldest(path: Path) -> Path:
    """A store from before the first migration."""
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    connection.close()
    return path


def test_all_migrations_make_the_schema_that_a_new_store_has(
    path: Path, tmp_path: Path, new_store: Callable[[], SqlStore]
) -> None:
    async def make() -> None:
        store = new_store()
        await store.open()
        await store.close()

    asyncio.run(make())
    migrated = tmp_path / "migrated.db"
    migrated.touch()
    upgrade(str(migrated))
    assert _schema(migrated) == _schema(path)


def test_migrations_are_numbered_and_forward_only() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert scripts.get_current_head() == tables.HEAD
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")
        assert not hasattr(script.module, "downgrade")


@pytest.mark.asyncio
async def test_an_older_store_is_migrated_when_it_opens(
    oldest: Path, new_store: Callable[[], SqlStore]
) -> None:
    store = new_store()
    await store.open()
    assert await store.schedules.count() == 0
    await store.close()
    assert len(_schema(oldest)) > 20


@pytest.mark.asyncio
async def test_two_processes_that_open_an_older_store_migrate_it_once(
    oldest: Path, new_store: Callable[[], SqlStore]
) -> None:
    stores = [new_store() for _ in range(2)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert await store.schedules.count() == 0
    await asyncio.gather(*(store.close() for store in stores))


KILLED = """
import os, signal, sqlite3, sys
from itertools import count
from sqlalchemy import Engine, event
from himalia.store.migrate import upgrade

path = sys.argv[1]

def schema():
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT * FROM sqlite_master").fetchall()

before = schema()
for number in count(1):
    child = os.fork()
    if not child:
        left = number

        @event.listens_for(Engine, "after_cursor_execute")
        def end(connection, cursor, statement, *rest):
            global left
            left -= not statement.startswith(("PRAGMA", "SELECT"))
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        upgrade(path)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
    assert schema() == before, number
print(number)
"""


def test_098_a_migration_that_is_killed_at_any_statement_is_rolled_back(oldest: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(oldest)], check=True, stdout=subprocess.PIPE, text=True
    )
    made = len([row for row in _schema(oldest) if not row[1].startswith("sqlite_autoindex")])
    assert int(done.stdout) > made > 20


def test_control_does_not_carry_the_migrations_libraries() -> None:
    code = "import sys, himalia.store.sql; print('alembic' in sys.modules, 'mako' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]
