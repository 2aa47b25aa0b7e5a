"""Connections and transactions, for both dialects, with failures told in plain words.

SQLite allows one writer at a time, so writing has one thread with one connection and reading
another: neither waits for a pool, and the event loop waits for neither.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import (
    DBAPIError,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from himalia.core.errors import Unavailable
from himalia.store import changes
from himalia.store.failures import COLLISIONS, LOST, explained

BUSY_SECONDS = 10.0
"""How long a transaction waits for another process's."""
_WRITES = "himalia_writes"
_POOL = 4
_BATCH = 500
_TRIES = 6
_PATIENCE_SECONDS = 20.0
"""How long a caller waits for a server that is there and does not answer."""
_TIMEOUTS = {
    "lock_timeout": "10s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
}

T = TypeVar("T")


def store_url(target: Path | str) -> URL:
    """Make the URL of a store from a URL or from the path of an SQLite file."""
    if isinstance(target, str) and "://" in target:
        url = make_url(target)
        is_postgres = url.drivername in {"postgresql", "postgres"}
        return url.set(drivername="postgresql+psycopg") if is_postgres else url
    return URL.create("sqlite", database=str(target))


def make_engine(url: URL, *, is_patient: bool = False) -> Engine:
    """Make an engine whose transactions are durable once committed.

    A patient one lets a statement take as long as it needs.
    """
    if url.get_backend_name() != "sqlite":
        return _make_client(url, is_patient=is_patient)
    # Never made by connecting: a store that vanished must not come back empty.
    address = f"file:{quote(str(Path(url.database or '').absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    engine = create_engine(url, creator=connect, poolclass=QueuePool, pool_size=2)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _make_client(url: URL, *, is_patient: bool) -> Engine:
    limits: dict[str, Any] = {
        "connect_timeout": 5,
        # A server that vanished is noticed, and so is a client, whose locks are then let go.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 10_000,
        "application_name": "himalia",
    }
    if not is_patient:
        settings = [
            *([str(url.query["options"])] if "options" in url.query else []),
            *(f"-c {name}={value}" for name, value in _TIMEOUTS.items()),
        ]
        limits["options"] = " ".join(settings)
    engine = create_engine(
        url, connect_args=limits, pool_size=2 * _POOL, pool_timeout=5, pool_pre_ping=True
    )
    event.listen(engine, "connect", _have_commits_durable)
    return engine


def _have_commits_durable(connection: Any, _record: object) -> None:
    # Whatever the server's usual is: what was acknowledged survives its crash. What is stricter
    # stays, as where standbys have to have it, too.
    connection.autocommit = True
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.autocommit = False


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # Python's driver begins and commits by its own rules unless it is told not to.
    connection.isolation_level = None
    for pragma in ("foreign_keys=ON", "synchronous=FULL", "journal_size_limit=16777216"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes could not wait for another writer.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def lock(connection: Connection, name: str) -> None:
    """Let one transaction at a time pass, by name, until it ends; SQLite's do so anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def batched(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ids, of which a statement takes only so many."""
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


class Database:
    """Runs functions as transactions in threads of their own."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine: Engine | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._reader: ThreadPoolExecutor | None = None

    def connect(self) -> None:
        """Start the threads; connections are made when they are first used."""
        size = 1 if self.is_sqlite else _POOL
        self._writer = ThreadPoolExecutor(size, thread_name_prefix="store-writer")
        self._reader = ThreadPoolExecutor(size, thread_name_prefix="store-reader")
        self._engine = make_engine(self.url)

    async def read(self, function: Callable[..., T], *args: Any) -> T:
        """Call ``function(connection, *args)`` on one state of the store."""
        return await self._run(self._reader, False, function, args)

    async def write(self, function: Callable[..., T], *args: Any) -> T:
        """Call ``function(connection, *args)`` in a transaction; it is durable on return."""
        return await self._run(self._writer, True, function, args)

    async def close(self) -> None:
        """End the threads and the connections, after what they are doing."""
        writer, reader, engine = self._writer, self._reader, self._engine
        self._writer = self._reader = self._engine = None

        def end() -> None:
            for executor in (reader, writer):
                if executor is not None:
                    executor.shutdown()
            if engine is not None:
                engine.dispose()

        await asyncio.to_thread(end)

    async def _run(
        self,
        executor: ThreadPoolExecutor | None,
        writes: bool,
        function: Callable[..., T],
        args: tuple[Any, ...],
    ) -> T:
        engine = self._engine
        if executor is None or engine is None:
            raise Unavailable("The store is closed; the service is stopping or has not started.")
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(executor, transact, engine, writes, function, args)
        try:
            async with asyncio.timeout(None if self.is_sqlite else _PATIENCE_SECONDS):
                return await waiting
        except TimeoutError as error:
            raise Unavailable(
                "The database does not answer just now. Look whether it was done before you try "
                "again, or try with the same idempotency key."
            ) from error


def transact(
    engine: Engine, writes: bool, function: Callable[..., T], args: tuple[Any, ...] = ()
) -> T:
    """Call ``function(connection, *args)`` in a transaction of this thread.

    It is called again where the transaction collided with another one and was rolled back.

    :raises Unavailable: the store could not be read or written; the text says what to do.
    """
    options: dict[str, Any] = {_WRITES: writes}
    if engine.dialect.name == "postgresql" and not writes:
        # All that one call reads is one state of the store.
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    for tries in count(1):
        try:
            with (
                engine.connect().execution_options(**options) as connection,
                connection.begin(),
            ):
                changes.forget(connection)
                result = function(connection, *args)
                changes.count(connection)
                return result
        except DBAPIError as error:
            if tries < _TRIES and getattr(error.orig, "sqlstate", None) in COLLISIONS:
                time.sleep(random.uniform(0, 0.05 * tries))  # noqa: S311 - nothing secret
                continue
            told = explained(error, engine.url.database)
            if told is None:
                raise
            raise told from error
        except (PendingRollbackError, ResourceClosedError, PoolTimeout) as error:
            # The connection was lost within a transaction, where SQLAlchemy tells it like this.
            raise Unavailable(LOST) from error
    raise AssertionError
