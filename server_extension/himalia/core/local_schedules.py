"""The local service's schedules."""

from __future__ import annotations

from datetime import UTC, datetime

from typing_extensions import override

from himalia.core import cron as cron_lines
from himalia.core.errors import InvalidInput
from himalia.core.local_parts import Parts, key_of
from himalia.core.model import Page, Schedule, ScheduleDraft, SchedulePatch, Ticks, Workload
from himalia.core.names import new_id
from himalia.core.service import Caller, ScheduleQuery, Schedules
from himalia.core.spec import Spec

_TIMING = ("cron", "time_zone", "paused")


class LocalSchedules(Schedules):
    """Times, over a store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @override
    async def create(
        self, caller: Caller, draft: ScheduleDraft, *, idempotency_key: str | None = None
    ) -> Schedule:
        key = key_of(caller, idempotency_key, "schedule", body=draft)
        made = await self._parts.made_under(key)
        if made is not None:
            return await self.get(caller, made)
        now = datetime.now(UTC)
        cron_lines.check(draft.cron, draft.time_zone, now=now)
        workload = await self._workload(caller, draft.workload_id)
        await self._parts.premises.check_parameters(workload, draft.parameters)
        schedule = Schedule(
            **draft.model_dump(),
            id=new_id("sch"),
            workload_name=workload.name,
            kind=workload.kind,
            owner=caller.owner,
            next_tick_at=_next(draft.cron, draft.time_zone, draft.paused, now),
            created_at=now,
            updated_at=now,
        )
        stored = await self._parts.store.schedules.insert(schedule, key=key)
        self._parts.ticker.loop.wake()
        return stored

    @override
    async def get(self, caller: Caller, schedule_id: str) -> Schedule:
        return await self._parts.store.schedules.get(caller.owner, schedule_id)

    @override
    async def list(self, caller: Caller, query: ScheduleQuery) -> Page[Schedule]:
        return await self._parts.store.schedules.list(caller.owner, query)

    @override
    async def update(self, caller: Caller, schedule_id: str, patch: SchedulePatch) -> Schedule:
        store = self._parts.store.schedules
        stored = await store.get(caller.owner, schedule_id)
        now = datetime.now(UTC)
        update = {
            name: value
            for name, value in patch
            if value is not None and name in patch.model_fields_set
        }
        changed = stored.model_copy(update={**update, "updated_at": now})
        cron_lines.check(changed.cron, changed.time_zone, now=now)
        if patch.parameters:
            workload = await self._workload(caller, stored.workload_id)
            await self._parts.premises.check_parameters(workload, patch.parameters)
        if any(getattr(changed, name) != getattr(stored, name) for name in _TIMING):
            tick = _next(changed.cron, changed.time_zone, changed.paused, now)
            changed = changed.model_copy(update={"next_tick_at": tick, "reason": None})
        await store.replace(changed)
        self._parts.ticker.loop.wake()
        return await store.get(caller.owner, schedule_id)

    @override
    async def delete(self, caller: Caller, schedule_id: str) -> None:
        await self._parts.store.schedules.delete(caller.owner, schedule_id)
        self._parts.ticker.loop.wake()

    @override
    async def preview(self, caller: Caller, cron: str, time_zone: str, count: int = 10) -> Ticks:
        now = datetime.now(UTC)
        if not 1 <= count <= cron_lines.MAX_TICKS:
            raise InvalidInput.of("count", f"write a number from 1 to {cron_lines.MAX_TICKS}")
        cron_lines.check(cron, time_zone, now=now)
        return Ticks(
            cron=cron,
            time_zone=time_zone,
            words=cron_lines.words(cron),
            ticks=cron_lines.next_ticks(cron, time_zone, now, count),
        )

    async def _workload(self, caller: Caller, workload_id: str) -> Workload[Spec]:
        found = await self._parts.store.workloads.find(caller.owner, [workload_id])
        if not found:
            raise InvalidInput.of("workload_id", f"there is no workload {workload_id}")
        return found[0]


def _next(cron: str, time_zone: str, is_paused: bool, now: datetime) -> datetime | None:
    return None if is_paused else cron_lines.next_tick(cron, time_zone, now)
