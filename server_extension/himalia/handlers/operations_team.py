"""Operations of users on what a team's control knows of them: usage, quotas, servers, tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from himalia.core.answers import StandingList, UsageTotalList
from himalia.core.homes import HomeUse
from himalia.core.model import Page
from himalia.core.service import MAX_PAGE
from himalia.core.tables import USAGE, csv_of
from himalia.core.team import (
    AccessToken,
    By,
    Notice,
    ServerState,
    SessionReport,
    TokenRequest,
    UsageEntry,
)
from himalia.handlers.calls import Call, Table
from himalia.handlers.parameters import (
    NoParameters,
    TimeParameters,
    UsageParameters,
    UsageTotalParameters,
)

DEFAULT_SERVER = "-"
"""Stands in addresses for the server without a name."""


async def list_usage(call: Call[UsageParameters, NoParameters]) -> Page[UsageEntry]:
    """Return a page of the caller's lines of the ledger."""
    return await call.service.usage.entries(
        call.caller, *call.query.span(), limit=call.query.limit, cursor=call.query.cursor
    )


async def sum_usage(call: Call[UsageTotalParameters, NoParameters]) -> UsageTotalList:
    """Sum the caller's."""
    by = By(call.query.by)
    totals = await call.service.usage.totals(call.caller, by, *call.query.span())
    return UsageTotalList(items=totals)


async def export_usage(call: Call[TimeParameters, NoParameters]) -> Table:
    """Send all of the caller's in a time."""
    lines = _usage_lines(call, *call.query.span())
    return Table(name="himalia-usage.csv", chunks=csv_of(lines, USAGE))


async def _usage_lines(
    call: Call[TimeParameters, NoParameters], since: datetime, until: datetime
) -> AsyncIterator[UsageEntry]:
    cursor: str | None = None
    while True:
        page = await call.service.usage.entries(
            call.caller, since, until, limit=MAX_PAGE, cursor=cursor
        )
        for entry in page.items:
            yield entry
        cursor = page.next_cursor
        if cursor is None:
            return


async def get_home(call: Call[NoParameters, NoParameters]) -> HomeUse:
    """Return how full the caller's home is."""
    return await call.service.usage.home(call.caller)


async def list_quotas(call: Call[NoParameters, NoParameters]) -> StandingList:
    """Return what the caller may take, and has taken."""
    return StandingList(items=await call.service.usage.standings(call.caller))


async def get_notice(call: Call[NoParameters, NoParameters]) -> Notice:
    """Return what everybody is told."""
    return await call.service.hub.notice(call.caller)


async def report_session(call: Call[NoParameters, SessionReport]) -> ServerState:
    """Take what a session tells of itself."""
    return await call.service.hub.report(call.caller, call.body)


async def get_server(call: Call[NoParameters, NoParameters]) -> ServerState:
    """Return whether a server stays, and why."""
    name = call.path["server"]
    return await call.service.hub.server(call.caller, "" if name == DEFAULT_SERVER else name)


async def create_token(call: Call[NoParameters, TokenRequest]) -> AccessToken:
    """Get a token for somebody else's service."""
    return await call.service.hub.token(call.caller, call.body)
