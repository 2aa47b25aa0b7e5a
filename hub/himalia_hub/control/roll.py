"""The hub's users with their servers, as of a moment; asked for once, whoever wants to know."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from himalia.core.errors import Unavailable
from himalia_hub.control.hub_api import HubApi, HubServer, HubUser

_LEAST_SECONDS = 5.0
_SECONDS_A_USER = 0.02
"""The directory costs hub and control a tenth of a millisecond a user: half a percent of a core."""
_SECONDS_A_LISTED_USER = 0.2
"""JupyterHub's own list costs two or three milliseconds a user."""
_MOST_SEEN = 20_000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A person's servers, as the hub told them beside something else."""

    servers: Mapping[str, HubServer]
    at_mono: float


class Rolls:
    """Keeps the latest roll, and what the hub told of single users since."""

    def __init__(self, hub: HubApi) -> None:
        self._hub = hub
        self._latest: Roll | None = None
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._calling = asyncio.Lock()

    @property
    def fair_seconds(self) -> float:
        """How old a roll may be for those who look often: the longer the list, the more it costs
        the hub.
        """
        users = len(self._latest.users) if self._latest is not None else 0
        each = _SECONDS_A_USER if self._hub.has_directory else _SECONDS_A_LISTED_USER
        return max(_LEAST_SECONDS, each * users)

    def saw(self, owner: str, servers: Mapping[str, HubServer]) -> None:
        """Take note of a person's servers, which the hub told with something else."""
        self._seen[owner] = _Seen(servers=servers, at_mono=time.monotonic())
        self._seen.move_to_end(owner)
        while len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)

    def server(self, owner: str, server_name: str, within: float) -> HubServer | None:
        """Return a server as the hub told of it last, if that was at most so many seconds ago."""
        since_mono = time.monotonic() - within
        seen, roll = self._seen.get(owner), self._latest
        # What was seen and is still kept is younger than the roll.
        if seen is not None and seen.at_mono >= since_mono and server_name in seen.servers:
            return seen.servers[server_name]
        if roll is None or roll.at_mono < since_mono or owner not in roll.users:
            return None
        return roll.users[owner].servers.get(server_name)

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
        for owner in [one for one, seen in self._seen.items() if seen.at_mono < at_mono]:
            del self._seen[owner]
        return Roll(users=users, at=at, at_mono=at_mono)
