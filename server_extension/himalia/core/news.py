"""News of owners, gathered until somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class News:
    """Of whom something may have changed since somebody last asked."""

    def __init__(self) -> None:
        self._owners: set[str] = set()
        self._is_of_all = False
        self._told = asyncio.Event()

    def tell(self, owners: Iterable[str] | None) -> None:
        """There is news of these owners, or of all."""
        if owners is None:
            self._is_of_all = True
        else:
            self._owners.update(owners)
        if self._is_of_all or self._owners:
            self._told.set()

    async def wait(self) -> frozenset[str] | None:
        """Return of whom there is news, as soon as there is some; None is everybody."""
        await self._told.wait()
        self._told.clear()
        owners, is_of_all = frozenset(self._owners), self._is_of_all
        self._owners.clear()
        self._is_of_all = False
        return None if is_of_all else owners
