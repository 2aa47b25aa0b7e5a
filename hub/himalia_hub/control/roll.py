"""The hub's users with their servers, as of a moment; asked for once, whoever wants to know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from himalia.core.errors import Unavailable
from himalia_hub.control.hub_api import HubApi, HubUser

_LEAST_SECONDS = 5.0
_SECONDS_A_USER = 0.2
"""A list costs the hub two or three milliseconds a user: so some one percent of its time."""
_BREATH_SECONDS = 0.05
"""Between two parts of the list: the hub has one thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Everybody that the hub knows."""

    users: Mapping[str, HubUser]
    """By owner."""
    at: datetime
    """When it was begun."""
    at_mono: float


class Rolls:
    """Keeps the latest roll."""

    def __init__(self, hub: HubApi) -> None:
        self._hub = hub
        self._latest: Roll | None = None
        self._calling = asyncio.Lock()

    @property
    def latest(self) -> Roll | None:
        """The latest whole one."""
        return self._latest

    @property
    def fair_seconds(self) -> float:
        """How old a roll may be for those who look often: the longer the list, the more it costs
        the hub.
        """
        users = len(self._latest.users) if self._latest is not None else 0
        return max(_LEAST_SECONDS, _SECONDS_A_USER * users)

    async def within(self, seconds: float) -> Roll:
        """Return a roll that is at most this old.

        :raises Unavailable: the hub did not answer, or said that it has no users at all.
        """
        wanted_mono = time.monotonic() - seconds
        async with self._calling:
            if self._latest is None or self._latest.at_mono < wanted_mono:
                self._latest = await self._call()
            return self._latest

    async def _call(self) -> Roll:
        at, at_mono = datetime.now(UTC), time.monotonic()
        users: dict[str, HubUser] = {}
        async for part in self._hub.users():
            users.update({user.owner: user for user in part})
            await asyncio.sleep(_BREATH_SECONDS)
        if not users:
            raise Unavailable("The hub says that it has no users.")
        return Roll(users=users, at=at, at_mono=at_mono)
