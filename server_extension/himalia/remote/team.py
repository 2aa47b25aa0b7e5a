"""Usage and the hub's part, elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from himalia.core.answers import StandingList, UsagePage, UsageTotalList
from himalia.core.homes import HomeUse, own_gauge
from himalia.core.model import Page
from himalia.core.service import Caller, Hub, Usage
from himalia.core.team import (
    AccessToken,
    By,
    Notice,
    ServerState,
    SessionReport,
    Standing,
    TokenRequest,
    UsageEntry,
    UsageTotal,
)
from himalia.remote.decoding import decode
from himalia.remote.transport import Transport

_DEFAULT_SERVER = "-"
"""Stands in addresses for the server without a name."""


class RemoteUsage(Usage):
    """What the caller has used, elsewhere."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @override
    async def entries(
        self,
        caller: Caller,
        since: datetime,
        until: datetime,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[UsageEntry]:
        params = _span(since, until) | {"limit": limit}
        if cursor is not None:
            params["cursor"] = cursor
        return decode(await self._transport.get(caller, "usage", params), UsagePage)

    @override
    async def home(self, caller: Caller) -> HomeUse:
        if self._transport.is_near:
            # What serves the home to this process tells it as well as what control would ask.
            return await own_gauge().read()
        return decode(await self._transport.get(caller, "home"), HomeUse)

    @override
    async def totals(
        self, caller: Caller, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        params = _span(since, until) | {"by": by.value}
        content = await self._transport.get(caller, "usage/totals", params)
        return decode(content, UsageTotalList).items

    @override
    async def standings(self, caller: Caller) -> tuple[Standing, ...]:
        return decode(await self._transport.get(caller, "quotas"), StandingList).items


def _span(since: datetime, until: datetime) -> dict[str, Any]:
    return {"since": since.isoformat(), "until": until.isoformat()}


class RemoteHub(Hub):
    """What only a team's control can do."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @override
    async def notice(self, caller: Caller) -> Notice:
        return decode(await self._transport.get(caller, "notice"), Notice)

    @override
    async def report(self, caller: Caller, report: SessionReport) -> ServerState:
        return decode(await self._transport.post(caller, "sessions", report), ServerState)

    @override
    async def server(self, caller: Caller, server_name: str) -> ServerState:
        path = f"sessions/{quote(server_name, '') or _DEFAULT_SERVER}"
        return decode(await self._transport.get(caller, path), ServerState)

    @override
    async def token(self, caller: Caller, request: TokenRequest) -> AccessToken:
        return decode(await self._transport.post(caller, "tokens", request), AccessToken)
