"""What admins see, narrowed to whom they administer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from himalia.core.administration import (
    Admin,
    AuditQuery,
    EveryRunQuery,
    EveryWorkloadQuery,
    PersonQuery,
    Views,
)
from himalia.core.errors import Forbidden
from himalia.core.governing_parts import Office
from himalia.core.isolation import judged
from himalia.core.local_parts import shown
from himalia.core.model import Page
from himalia.core.team import (
    AuditEntry,
    Isolation,
    Overview,
    Person,
    PersonRow,
    RunRow,
    WorkloadRow,
)

_LOOK_SECONDS = 1.0
_STILL_SECONDS = 5.0
"""What is not stored changes too: servers, and why they live."""


class LocalViews(Views):
    """Lists and numbers, over a store and the hub's servers."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._pulse = _Pulse(office)

    @override
    async def overview(self, admin: Admin) -> Overview:
        owners = await self._office.owners(admin)
        now = datetime.now(UTC)
        team = self._office.team
        counts = await team.lists.counts(owners, now - timedelta(days=1))
        leaders = await team.leaders.leaders(now)
        return Overview(
            people=counts["people"],
            servers=await self._office.servers.count(owners),
            running=counts["running"],
            queued=counts["queued"],
            failed_day=counts["failed"],
            schedules=counts["schedules"],
            # Who answers is alive, whether or not it has a duty.
            controls=max(1, len(set(leaders.values()))),
            notice=await team.notices.get(),
        )

    @override
    async def people(self, admin: Admin, query: PersonQuery) -> Page[PersonRow]:
        if _is_outside(admin, query.group):
            return Page[PersonRow](items=())
        owners = await self._office.owners(admin)
        page = await self._office.team.lists.people(query, owners)
        states = await self._office.servers.states([row.person for row in page.items])
        rows = tuple(
            row.model_copy(
                update={
                    "person": _narrowed(admin, row.person),
                    "servers": states.get(row.person.owner, ()),
                }
            )
            for row in page.items
        )
        return page.model_copy(update={"items": rows})

    @override
    async def runs(self, admin: Admin, query: EveryRunQuery) -> Page[RunRow]:
        if _is_outside(admin, query.group):
            return Page[RunRow](items=())
        return await self._office.team.lists.runs(query, await self._office.owners(admin))

    @override
    async def workloads(self, admin: Admin, query: EveryWorkloadQuery) -> Page[WorkloadRow]:
        if _is_outside(admin, query.group):
            return Page[WorkloadRow](items=())
        owners = await self._office.owners(admin)
        page = await self._office.team.lists.workloads(query, owners)
        rows = tuple(row.model_copy(update={"workload": shown(row.workload)}) for row in page.items)
        return page.model_copy(update={"items": rows})

    @override
    async def audit(self, admin: Admin, query: AuditQuery) -> Page[AuditEntry]:
        return await self._office.team.notices.audit(query, await self._office.owners(admin))

    @override
    async def isolation(self, admin: Admin) -> Isolation:
        if admin.groups is not None:
            raise Forbidden("Only who administers the whole hub may see this.")
        return judged(await self._office.team.checks.last(), self._office.self_test)

    @override
    async def changes(self, admin: Admin) -> AsyncIterator[int]:
        said, at = await self._pulse.revision(), time.monotonic()
        yield said
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            found = await self._pulse.revision()
            if found != said or time.monotonic() - at >= _STILL_SECONDS:
                said, at = found, time.monotonic()
                yield said


class _Pulse:
    """Asks the store once a second, however many pages are open."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._lock = asyncio.Lock()
        self._seen = 0
        self._asked_at = float("-inf")

    async def revision(self) -> int:
        async with self._lock:
            if time.monotonic() - self._asked_at >= _LOOK_SECONDS * 0.9:
                self._seen = await self._office.team.lists.revision()
                self._asked_at = time.monotonic()
            return self._seen


def _is_outside(admin: Admin, group: str | None) -> bool:
    return group is not None and admin.groups is not None and group not in admin.groups


def _narrowed(admin: Admin, person: Person) -> Person:
    """Leave out groups that are not the admin's business."""
    if admin.groups is None:
        return person
    groups = tuple(group for group in person.groups if group in admin.groups)
    return person.model_copy(update={"groups": groups})
