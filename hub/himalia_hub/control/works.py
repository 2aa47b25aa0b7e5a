"""Where people's things lie and their runs run: all in which one platform differs from another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.process import Launch, launch
from himalia.agents.settings import AgentSettings
from himalia.backends.base import Backend
from himalia.store.team import PeopleStore
from himalia_hub.accounts import Accounts
from himalia_hub.homes import Homes
from himalia_hub.settings import Himalia


class Grounds(Protocol):
    """What each person has of their own. Everything may be repeated, and raises Unavailable when it
    cannot be done now.
    """

    async def account(self, owner: str, name: str) -> Account:
        """Return a person's account, made if need be (:raises Conflict: it is somebody else's)."""

    async def has(self, owner: str, name: str) -> bool:
        """Tell whether a person has anything here."""

    async def retire(self, owner: str, name: str) -> bool:
        """Take away what a person had; tell whether that is done."""

    async def owners(self) -> Collection[str]:
        """Return who has something here."""

    async def sweep(self) -> None:
        """Delete what was retired long enough ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """One platform, as control's team is put together on it."""

    grounds: Grounds
    agents: AgentSettings
    launch: Launch
    backend: Callable[[Agents, PeopleStore], Backend]
    look: Callable[[], Awaitable[None]]
    """Returns where that which runs runs answers (:raises Unavailable: it does not)."""
    close: Callable[[], Awaitable[None]]


async def machine(settings: Himalia) -> Works:
    """Return the hub's own machine: accounts, and processes under them."""

    async def nothing() -> None:
        """Nothing is held, and nobody need be asked."""

    return Works(
        grounds=MachineGrounds(settings),
        agents=AgentSettings(python=Path(settings.python)),
        launch=launch,
        backend=lambda agents, _people: AgentBackend(agents),
        look=nothing,
        close=nothing,
    )


class MachineGrounds:
    """System accounts with homes in the state folder."""

    def __init__(self, settings: Himalia) -> None:
        self._accounts = Accounts(settings)
        self._homes = Homes(settings.folder)

    async def account(self, owner: str, name: str) -> Account:
        """Return a person's account, made if need be."""
        return await asyncio.to_thread(self._accounts.of, owner, name)

    async def has(self, owner: str, name: str) -> bool:
        """Tell whether a person has a home, or something in it."""
        return await asyncio.to_thread(self._accounts.has, owner, name)

    async def retire(self, owner: str, name: str) -> bool:
        """Take the account away, and put the home where nobody else reaches it."""
        await asyncio.to_thread(self._accounts.retire, owner, name)
        return True

    async def owners(self) -> Collection[str]:
        """Return whose homes there are."""
        return await asyncio.to_thread(_names, self._homes.homes)

    async def sweep(self) -> None:
        """Delete homes that were retired long enough ago."""
        await asyncio.to_thread(self._accounts.delete_retired)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted
    except OSError:
        return []
