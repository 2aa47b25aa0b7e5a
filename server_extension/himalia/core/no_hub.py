"""The hub's part of a service that belongs to one person: there is none."""

from __future__ import annotations

from typing import NoReturn

from typing_extensions import override

from himalia.core.errors import Conflict
from himalia.core.service import Caller, Hub
from himalia.core.team import (
    AccessToken,
    Notice,
    ServerState,
    SessionReport,
    TokenRequest,
)


class NoHub(Hub):
    """Says so, whatever is asked of it; nobody told anybody anything."""

    @override
    async def notice(self, caller: Caller) -> Notice:
        return Notice()

    @override
    async def report(self, caller: Caller, report: SessionReport) -> ServerState:
        _refuse()

    @override
    async def server(self, caller: Caller, server_name: str) -> ServerState:
        _refuse()

    @override
    async def token(self, caller: Caller, request: TokenRequest) -> AccessToken:
        _refuse()


def _refuse() -> NoReturn:
    raise Conflict(
        "This needs a hub, and Himalia runs for you alone here. Sign in at your team's hub instead."
    )
