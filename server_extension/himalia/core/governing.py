"""Administration in this process: what a team's control offers its admins."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime

from typing_extensions import override

from himalia.core.administration import Admin, Administration, Ledger, Servers
from himalia.core.governing_acts import LocalActs
from himalia.core.governing_orphans import LocalOrphans
from himalia.core.governing_parts import Announce, Office
from himalia.core.governing_rules import LocalRules
from himalia.core.governing_views import LocalViews
from himalia.core.local_parts import Parts
from himalia.core.service import MAX_PAGE
from himalia.core.team import By, Notice, UsageEntry, UsageTotal
from himalia.store.team import TeamStore

_RECENT_SECONDS = 15.0
_Sum = tuple[frozenset[str] | None, By, datetime, datetime]


async def announce_nothing(_: Notice) -> None:
    """Tell nobody who does not ask."""


class LocalAdministration(Administration):
    """Over the parts of the local service, what the store keeps of a team, and the hub's servers.

    `announce` is told of each new notice once it is stored; `self_test` is the command that has
    isolation tried out, where there is one.
    """

    def __init__(
        self,
        *,
        parts: Parts,
        team: TeamStore,
        servers: Servers,
        announce: Announce = announce_nothing,
        self_test: str = "",
    ) -> None:
        office = Office(
            parts=parts, team=team, servers=servers, announce=announce, self_test=self_test
        )
        self.views = LocalViews(office)
        self.acts = LocalActs(office)
        self.orphans = LocalOrphans(office)
        self.rules = LocalRules(office)
        self.ledger = LocalLedger(office)


class LocalLedger(Ledger):
    """Over a store."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._recent: dict[_Sum, tuple[float, tuple[UsageTotal, ...]]] = {}

    @override
    async def totals(
        self, admin: Admin, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        totals = await self._summed((await self._office.owners(admin), by, since, until))
        if by is By.GROUP and admin.groups is not None:
            return tuple(total for total in totals if total.subject in admin.groups)
        return totals

    async def _summed(self, asked: _Sum) -> tuple[UsageTotal, ...]:
        """Add up what was on in a time, or return what that came to a moment ago.

        All of a month's lines are read for it, and pages that are open ask again and again.
        """
        now = time.monotonic()
        at, totals = self._recent.get(asked, (float("-inf"), ()))
        if now - at >= _RECENT_SECONDS:
            totals = await self._office.team.usage.totals(*asked)
            self._recent = {
                key: value
                for key, value in self._recent.items()
                if now - value[0] < _RECENT_SECONDS
            } | {asked: (now, totals)}
        return totals

    @override
    async def entries(
        self, admin: Admin, since: datetime, until: datetime
    ) -> AsyncIterator[UsageEntry]:
        owners = await self._office.owners(admin)
        cursor: str | None = None
        while True:
            page = await self._office.team.usage.entries(
                owners, since, until, limit=MAX_PAGE, cursor=cursor
            )
            for entry in page.items:
                yield _narrowed(admin, entry)
            cursor = page.next_cursor
            if cursor is None:
                return


def _narrowed(admin: Admin, entry: UsageEntry) -> UsageEntry:
    """Leave out groups that are not the admin's business."""
    if admin.groups is None:
        return entry
    groups = tuple(group for group in entry.groups if group in admin.groups)
    return entry.model_copy(update={"groups": groups})
