"""The table of accounts, which the hub shares with control: one database has everybody in it."""

from __future__ import annotations

import asyncio

from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia.store.team import PeopleStore
from himalia_hub.settings import Himalia
from himalia_hub.state import State


class Accounts:
    """Which name at the hub (issuer, subject) has, in a store that is opened at the first login."""

    def __init__(self, settings: Himalia) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._store: SqlStore | None = None

    async def get(self, issuer: str, subject: str, wanted: str) -> str:
        """Return the name, made like `wanted` at the first time (:raises Unavailable:)."""
        return await (await self._people()).account(issuer, subject, wanted)

    async def find(self, issuer: str, subject: str) -> str | None:
        """Return the name, if there is one (:raises Unavailable:)."""
        return await (await self._people()).known_account(issuer, subject)

    async def _people(self) -> PeopleStore:
        async with self._opening:
            if self._store is None:
                self._store = await _open(self._settings)
            return self._store.team.people


async def _open(settings: Himalia) -> SqlStore:
    target = settings.store_url or State(settings.folder).prepare().data / "store.db"
    store = SqlStore(target, load_kinds().decode_spec)
    await store.open()
    return store
