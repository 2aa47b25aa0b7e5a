"""Bringing a store's schema up to date, safe against other processes and against kill -9."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, insert, inspect, select

from himalia.core.errors import Unavailable
from himalia.store import sqlite_file
from himalia.store.database import lock, make_engine, store_url, transact
from himalia.store.failures import DAMAGED
from himalia.store.tables import HEAD, OLDEST_READER, compatibility, revision
from himalia.store.team_tables import people

_log = logging.getLogger(__name__)

_OLDEST_SQLITE = (3, 35)
"""The first with RETURNING: https://www.sqlite.org/lang_returning.html."""
_QUICK_BYTES = 16 * 2**20
"""Up to this size a store is checked at every start; a larger one, about a second for each
gigabyte, only where the process before did not close it."""


def prepare(url: URL) -> None:
    """Make the store if there is none, and migrate it if it is older. Blocks.

    A newer schema is used as it is, where its migrations left it fit for this release.

    :raises Unavailable: it is damaged, too new for this release, or on a network file system.
    """
    if url.get_backend_name() == "sqlite":
        try:
            _prepare_file(url, Path(url.database or ""))
        except OSError as error:
            raise Unavailable(f"The store {url.database} cannot be used: {error}.") from error
        return
    engine = make_engine(url, is_patient=True)
    try:
        found = transact(engine, True, _make_or_tell)
        if _is_older(found):
            _migrate(url)
    finally:
        engine.dispose()


def _prepare_file(url: URL, path: Path) -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise Unavailable(
            f"This Python has SQLite {sqlite3.sqlite_version}; Himalia needs "
            f"{'.'.join(map(str, _OLDEST_SQLITE))} or newer. Use a newer Python."
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sqlite_file.refuse_network(path.parent)
    if not sqlite_file.check_whole(path):
        with sqlite_file.exclusively(path):
            if not sqlite_file.check_whole(path):
                _make_file(path)
    was_left_open = Path(f"{path}-wal").exists()
    engine = make_engine(url)
    try:
        _use_log(engine)
        if was_left_open or path.stat().st_size <= _QUICK_BYTES:
            transact(engine, False, _check_sound)
        if _is_older(transact(engine, False, _tell)):
            with sqlite_file.exclusively(path):
                if _is_older(transact(engine, False, _tell)):
                    _migrate(url)
    finally:
        engine.dispose()


def _make_file(path: Path) -> None:
    draft = sqlite_file.begin(path)
    engine = make_engine(store_url(draft))
    try:
        transact(engine, True, _make)
    finally:
        engine.dispose()
    sqlite_file.finish(draft, path)


def _use_log(engine: Engine) -> None:
    """Let readers go on while something is written; the file remembers it."""

    def use(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")  # It may not change within a transaction.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    transact(engine, False, use)


def _check_sound(connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        _log.error("the store is damaged: %s", found)
        raise Unavailable(DAMAGED.format(path=connection.engine.url.database))


def _make_or_tell(connection: Connection) -> str:
    lock(connection, "schema")
    if not inspect(connection).has_table(revision.name):
        _make(connection)
    return _tell(connection)


def _make(connection: Connection) -> None:
    # The same as all migrations from nothing, which a test compares, without their second.
    people.metadata.create_all(connection)
    connection.execute(insert(revision), {"version_num": HEAD})
    connection.execute(insert(compatibility), {"oldest_reader": OLDEST_READER})


def _tell(connection: Connection) -> str:
    if not inspect(connection).has_table(revision.name):
        raise Unavailable(
            f"{connection.engine.url.database} is not a store of Himalia. Nothing was changed."
        )
    found = str(connection.scalar(select(revision.c.version_num)) or "")
    if found > HEAD and _oldest_reader(connection) > HEAD:
        raise Unavailable(
            f"The store was written by a newer release (its schema is {found}, this one knows "
            f"{HEAD}). Install that release again, or use another HIMALIA_HOME."
        )
    return found


def _oldest_reader(connection: Connection) -> str:
    return str(connection.scalar(select(compatibility.c.oldest_reader)) or "")


def _is_older(found: str) -> bool:
    return found < HEAD


def _migrate(url: URL) -> None:
    """Migrate in a process of its own, so that its libraries do not stay in this one."""
    # The address may hold a password, so it is not an argument, which every user can read.
    done = subprocess.run(
        [sys.executable, "-m", "himalia.store.migrate"],
        input=url.render_as_string(hide_password=False),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        _log.error("migration failed: %s", done.stderr)
        raise Unavailable(
            "The store could not be brought up to date, and was left as it was; the log says why."
        )
