"""Operations on schedules."""

from __future__ import annotations

from himalia.core.model import Page, Schedule, ScheduleDraft, SchedulePatch, Ticks
from himalia.core.service import ScheduleQuery
from himalia.handlers.calls import Call
from himalia.handlers.parameters import NoParameters, PreviewParameters, ScheduleParameters


async def list_schedules(call: Call[ScheduleParameters, NoParameters]) -> Page[Schedule]:
    """Return a page."""
    query = ScheduleQuery(**call.query.model_dump())
    return await call.service.schedules.list(call.caller, query)


async def create_schedule(call: Call[NoParameters, ScheduleDraft]) -> Schedule:
    """Make one."""
    return await call.service.schedules.create(
        call.caller, call.body, idempotency_key=call.idempotency_key
    )


async def get_schedule(call: Call[NoParameters, NoParameters]) -> Schedule:
    """Return one."""
    return await call.service.schedules.get(call.caller, call.id("schedule_id"))


async def update_schedule(call: Call[NoParameters, SchedulePatch]) -> Schedule:
    """Change one."""
    return await call.service.schedules.update(call.caller, call.id("schedule_id"), call.body)


async def delete_schedule(call: Call[NoParameters, NoParameters]) -> None:
    """Delete one."""
    await call.service.schedules.delete(call.caller, call.id("schedule_id"))


async def preview_schedule(call: Call[PreviewParameters, NoParameters]) -> Ticks:
    """Return the next ticks of a cron line that is not stored."""
    return await call.service.schedules.preview(
        call.caller, call.query.cron, call.query.time_zone, call.query.count
    )
