"""Users' servers as processes of this machine, each under its user's own account."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner, set_user_setuid
from traitlets import default
from typing_extensions import override

from himalia.agents.account import Account
from himalia.core.errors import HimaliaError
from himalia.core.names import owner_id
from himalia.core.variables import PATH
from himalia_hub.accounts import Accounts
from himalia_hub.failures import LOG_FOLDER, NotStarted, explain, log_name, tail
from himalia_hub.later import settings_of
from himalia_hub.settings import Himalia

_LOOK_SECONDS = 0.05


class HimaliaSpawner(LocalProcessSpawner):  # type: ignore[misc]
    """Starts servers in a clean environment, and says in plain words why one did not start."""

    account: Account | None = None
    is_first = False
    """Whether the user's home is new."""
    pid: int

    @cached_property
    def himalia(self) -> Himalia:
        """The hub's settings."""
        return settings_of(self.config)

    @default("cmd")
    def _of_the_environment(self) -> list[str]:
        # -P: a file in the user's home must not stand for a module of the server's.
        return [self.himalia.python, "-P", "-m", "jupyterhub.singleuser"]

    @default("env_keep")
    def _nothing_of_the_hub(self) -> list[str]:
        return ["LANG", "LANGUAGE", "LC_ALL", "TZ"]

    @default("options_form")
    def _no_questions(self) -> str:
        return ""

    @override
    async def start(self) -> Any:
        """Start the server, and wait until it listens or has ended."""
        self.account = await self._account()
        log = Path(self.account.home) / LOG_FOLDER
        self.is_first = not await asyncio.to_thread(log.exists)
        try:
            where = await super().start()
        except (OSError, KeyError) as error:
            raise NotStarted(explain(error, python=self.himalia.python)) from error
        await self._listening(*where)
        return where

    async def _account(self) -> Account:
        created = self.user.orm_user.created.replace(tzinfo=UTC)
        owner = owner_id(self.user.name, created)
        try:
            return await asyncio.to_thread(Accounts(self.himalia).of, owner, self.user.name)
        except HimaliaError as error:
            raise NotStarted(error.message) from error

    async def _listening(self, host: str, port: int) -> None:
        """Return when the server accepts connections; JupyterHub waits for the rest.

        :raises NotStarted: it ended before.
        """
        while (status := await self.poll()) is None:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                writer.close()
                return
        assert self.account is not None, "a server that runs has an account"
        said = await asyncio.to_thread(tail, self.account, self.name)
        raise NotStarted(explain(status, python=self.himalia.python, log=said, name=self.name))

    @override
    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        account = self.account
        assert account is not None, "accounts come before processes"
        change = set_user_setuid(account.name) if account.uid is not None else None
        home, log = Path(account.home), log_name(self.name)
        # Read here: the account may not reach where the hub is installed.
        is_ours = not self.himalia.is_root or self.himalia.accounts == "own"
        given = tour() if self.is_first and is_ours else {}

        def become() -> None:
            """Run in the new process, before the server's program."""
            if change is not None:
                change()
            os.umask(0o077)
            os.chdir(home)
            for notebook, content in given.items():
                _give(home / notebook, content)
            _log_to(home / LOG_FOLDER / log)

        return become

    @override
    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        account = self.account
        assert account is not None, "accounts come before processes"
        env |= {
            "HOME": str(account.home),
            "USER": account.name,
            "LOGNAME": account.name,
            "SHELL": account.shell,
            # Programs of the environment first: kernels and terminals find the same ones.
            "PATH": f"{Path(self.himalia.python).parent}:{PATH}",
        }
        return env

    @override
    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        if self.is_first and self.himalia.demo:
            env["JUPYTERHUB_DEFAULT_URL"] = "/lab/tree/tour.ipynb"
        return env

    @override
    def get_state(self) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state["born"] = _born(self.pid)
        return state

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        # After the machine was started anew, the number may be another process's.
        if self.pid and state.get("born") not in {None, _born(self.pid)}:
            self.pid = 0

    @override
    async def poll(self) -> int | None:
        if self.proc is None and self.pid and _born(self.pid) is None:
            self.clear_state()
        status: int | None = await super().poll()
        return status


def _born(pid: int) -> float | None:
    """Return when a process was started; None where it is gone, or has ended unnoticed."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def tour() -> dict[str, bytes]:
    """Return the notebooks that a new home begins with, by name."""
    folder = resources.files("himalia") / "tour"
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.endswith(".ipynb")}


def _give(path: Path, content: bytes) -> None:
    """Write a file that is not there yet."""
    with suppress(FileExistsError, FileNotFoundError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def _log_to(path: Path) -> None:
    """Send what this process says to a file of its user's, who pays for its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    log = os.open(path, flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
