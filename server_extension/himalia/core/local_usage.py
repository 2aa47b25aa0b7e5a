"""The local service's usage: what the ledger says of the caller, and what quotas leave them."""

from __future__ import annotations

from datetime import UTC, datetime

from typing_extensions import override

from himalia.core.errors import InvalidInput
from himalia.core.homes import HomeUse
from himalia.core.model import Page
from himalia.core.premises import Premises
from himalia.core.service import MAX_PAGE, Caller, Usage
from himalia.core.team import By, Standing, UsageEntry, UsageTotal
from himalia.store.team import TeamStore


class LocalUsage(Usage):
    """Usage, over a store and premises."""

    def __init__(self, team: TeamStore, premises: Premises) -> None:
        self._team = team
        self._premises = premises

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
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput.of("limit", f"must be from 1 to {MAX_PAGE}")
        _check_time(since, until)
        return await self._team.usage.entries(
            {caller.owner}, since, until, limit=limit, cursor=cursor
        )

    @override
    async def totals(
        self, caller: Caller, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        if by not in {By.KIND, By.PROJECT}:
            raise InvalidInput.of("by", "must be kind or project: the rest is an admin's")
        _check_time(since, until)
        return await self._team.usage.totals({caller.owner}, by, since, until)

    @override
    async def home(self, caller: Caller) -> HomeUse:
        return await self._premises.home(caller.owner)

    @override
    async def standings(self, caller: Caller) -> tuple[Standing, ...]:
        return await self._team.quotas.standings(caller.owner, datetime.now(UTC))


def _check_time(since: datetime, until: datetime) -> None:
    if since >= until:
        raise InvalidInput.of("until", "must be after since")
