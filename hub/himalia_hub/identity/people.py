"""The table of accounts, which the hub shares with control: one database has everybody in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia_hub.settings import Himalia
from himalia_hub.state import State

Accounts = Callable[[str, str, str], Awaitable[str]]
"""Returns the hub's name of (issuer, subject), made like a wanted name at the first time."""


def accounts_of(settings: Himalia) -> Accounts:
    """Return the lookup in a hub's store, which is opened at the first login."""
    opening = asyncio.Lock()
    opened: list[SqlStore] = []

    async def account(issuer: str, subject: str, wanted: str) -> str:
        async with opening:
            if not opened:
                opened.append(await _open(settings))
        return await opened[0].team.people.account(issuer, subject, wanted)

    return account


async def _open(settings: Himalia) -> SqlStore:
    target = settings.store_url or State(settings.folder).prepare().data / "store.db"
    store = SqlStore(target, load_kinds().decode_spec)
    await store.open()
    return store
