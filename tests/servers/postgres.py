"""A real PostgreSQL for tests: found on this machine, run by an account without rights.

The fixture `postgres` is one server for all tests, each of which takes a database of its own. Who
wants to break a server starts one: ``with Postgres() as server``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest
from psycopg import sql

from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

USER = "himalia"
PASSWORD = "not-for-any-log"  # The server asks for none; tests look for it where it must not be.
_SETTINGS = {
    # A test's server need not outlive a loss of power, and its databases are many and small.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
    "log_destination": "stderr",
}


@cache
def binaries() -> Path:
    """Return the folder of the server's programs."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name)
    )
    if (config := shutil.which("pg_config")) is not None:
        said = subprocess.run([config, "--bindir"], check=True, capture_output=True, text=True)
        folders.append(Path(said.stdout.strip()))
    if (program := shutil.which("postgres")) is not None:
        folders.append(Path(program).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError("These tests need PostgreSQL's server: run `make postgres`, or install it.")


class Postgres:
    """A server in a folder of its own, which goes with it."""

    def __init__(self, **settings: str) -> None:
        self._settings = _SETTINGS | settings
        self._folder = Path(tempfile.mkdtemp(prefix="himalia-postgres-"))
        self._account = _account()
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        data = str(self._folder / "data")
        made = self._spawn("initdb", *options, f"--username={USER}", f"--pgdata={data}")
        if made.wait(PATIENCE_SECONDS) != 0:
            raise RuntimeError(f"PostgreSQL could not be set up:\n{self.log()}")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the address of a database, perhaps through a proxy's port."""
        address = f"{USER}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"
        return f"postgresql://{address}"

    def start(self) -> None:
        """Start, on the same port and data as before, and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        places = ["-D", str(self._folder / "data"), "-k", str(self._folder), "-p", str(self.port)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                # What a killed one left, another may have to wait for.
                self._process = self._spawn("postgres", *places, *settings)
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL did not start:\n{self.log()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: with SIGINT as after an admin's restart, with SIGKILL as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and start it again."""
        self.stop(how)
        self.start()

    def log(self) -> str:
        """Return what it said."""
        return (self._folder / "log").read_text(errors="replace")

    def execute(self, statement: sql.Composed, *, database: str = "postgres") -> None:
        """Execute a statement outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, *, template: str = "template0") -> str:
        """Make a database, a copy of another one, and return its name."""
        name = f"test_{next(self._numbers)}"
        words = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(words.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop(self, database: str) -> None:
        """Forget a database, whoever is still connected to it."""
        words = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self.execute(words.format(sql.Identifier(database)))

    def cut(self, database: str) -> None:
        """Drop all connections to a database, in whatever they are doing."""
        words = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}")
        self.execute(words.format(sql.Literal(database)))

    def _answers(self) -> bool:
        if self._process is None:
            return False
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            return True
        return False

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        account = self._account
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(binaries() / program), *arguments],
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.pw_uid if account is not None else None,
                group=account.pw_gid if account is not None else None,
                extra_groups=() if account is not None else None,
            )


def _account() -> pwd.struct_passwd | None:
    """Choose whose the server is: it refuses to be root's."""
    if os.getuid() != 0:
        return None
    names = {account.pw_name: account for account in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests, started for the first that asks."""
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database of the test's own."""
    database = postgres.create()
    yield postgres.url(database)
    postgres.drop(database)
