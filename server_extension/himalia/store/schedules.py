"""Times, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError
from typing_extensions import override

from himalia.core.errors import Conflict, NotFound
from himalia.core.model import Page, Reason, Run, Schedule, Workload
from himalia.core.names import is_id
from himalia.core.service import ScheduleQuery
from himalia.core.spec import Spec
from himalia.store import keys
from himalia.store.base import Key, ScheduleStore
from himalia.store.database import Database
from himalia.store.notices import is_draining
from himalia.store.paging import Paging
from himalia.store.rows import (
    SCHEDULE_COLUMNS,
    DecodeSpec,
    decode_run,
    decode_schedule,
    decode_workload,
    encode_schedule,
    from_micros,
    to_micros,
)
from himalia.store.run_rows import LIVE, insert_runs
from himalia.store.tables import FOREVER, runs, schedules, workload_tags, workloads

_SORTS: dict[str, type] = {"created_at": int, "next_tick_at": int}
_SIZE = len(SCHEDULE_COLUMNS)
_TOLD_BY_TICKS = ("id", "workload_id", "owner", "created_at", "last_tick_at", "reason")


class SqlSchedules(ScheduleStore):
    """Schedules."""

    def __init__(self, database: Database, decode_spec: DecodeSpec) -> None:
        self._database = database
        self._decode_workload = partial(decode_workload, decode_spec=decode_spec)

    @override
    async def insert(self, schedule: Schedule, *, key: Key | None = None) -> Schedule:
        return await self._database.write(_insert, schedule, key)

    @override
    async def get(self, owner: str, schedule_id: str) -> Schedule:
        return await self._database.read(_get, owner, schedule_id)

    @override
    async def list(self, owner: str, query: ScheduleQuery) -> Page[Schedule]:
        paging = Paging.of(owner, query, _SORTS)
        return await self._database.read(_list, owner, query, paging)

    @override
    async def replace(self, schedule: Schedule) -> None:
        await self._database.write(_replace, schedule)

    @override
    async def delete(self, owner: str, schedule_id: str) -> None:
        await self._database.write(_delete, owner, schedule_id)

    @override
    async def due(self, now: datetime, limit: int) -> tuple[tuple[Schedule, Workload[Spec]], ...]:
        return await self._database.read(self._due, now, limit)

    @override
    async def unended(self, schedule_id: str) -> tuple[Run, ...]:
        return await self._database.read(_unended, schedule_id)

    @override
    async def tick(
        self,
        schedule: Schedule,
        runs: Sequence[Run],
        *,
        next_tick_at: datetime | None,
        reason: Reason | None,
    ) -> bool:
        return await self._database.write(_tick, schedule, runs, next_tick_at, reason)

    @override
    async def next_tick_at(self) -> datetime | None:
        return await self._database.read(_next_tick_at)

    @override
    async def count(self, owner: str | None = None) -> int:
        return await self._database.read(_count, owner)

    def _due(
        self, connection: Connection, now: datetime, limit: int
    ) -> tuple[tuple[Schedule, Workload[Spec]], ...]:
        if is_draining(connection):
            return ()
        rows = connection.execute(
            select(*schedules.c, *workloads.c)
            .join(workloads, workloads.c.id == schedules.c.workload_id)
            .where(schedules.c.paused == 0, schedules.c.next_tick_at <= to_micros(now))
            .order_by(schedules.c.next_tick_at)
            .limit(limit)
        ).all()
        found = []
        for row in rows:
            workload = self._decode_workload(row[_SIZE:])
            found.append((_decode(row, workload.name, workload.kind), workload))
        return tuple(found)


def _select() -> Select[Any]:
    return select(*schedules.c, workloads.c.name.label("name"), workloads.c.kind).join(
        workloads, workloads.c.id == schedules.c.workload_id
    )


def _decode(row: Row[Any], name: str, kind: str) -> Schedule:
    value = dict(zip(SCHEDULE_COLUMNS, row, strict=False))
    return decode_schedule(value, workload_name=name, kind=kind)


def _decode_joined(row: Row[Any]) -> Schedule:
    return _decode(row, row[_SIZE], row[_SIZE + 1])


def _insert(connection: Connection, schedule: Schedule, key: Key | None) -> Schedule:
    if key is not None:
        earlier = keys.reserve(connection, key, schedule.id)
        if earlier is not None:
            try:
                return _get(connection, schedule.owner, earlier)
            except NotFound as error:
                raise Conflict("The idempotency key was used for something else.") from error
    mine = (workloads.c.id == schedule.workload_id) & (workloads.c.owner == schedule.owner)
    there = select(workloads.c.id).where(mine).with_for_update(read=True)
    if connection.execute(there).first() is None:
        raise NotFound("There is no such workload.")
    connection.execute(insert(schedules), encode_schedule(schedule))
    return schedule


def _get(connection: Connection, owner: str, schedule_id: str) -> Schedule:
    _check_there(schedule_id)
    mine = (schedules.c.id == schedule_id) & (schedules.c.owner == owner)
    row = connection.execute(_select().where(mine)).one_or_none()
    if row is None:
        raise _not_found()
    return _decode_joined(row)


def _list(
    connection: Connection, owner: str, query: ScheduleQuery, paging: Paging
) -> Page[Schedule]:
    rows = connection.execute(list_statement(owner, query, paging)).all()
    key = SCHEDULE_COLUMNS.index(paging.field)
    return paging.page(rows, _decode_joined, lambda row: (row[key], row[0]))


def list_statement(owner: str, query: ScheduleQuery, paging: Paging) -> Select[Any]:
    """Make the statement of one page."""
    key = schedules.c[paging.field]
    statement = _select().where(schedules.c.owner == owner)
    if query.workload_id is not None:
        statement = statement.where(schedules.c.workload_id == query.workload_id)
    if query.paused is not None:
        statement = statement.where(schedules.c.paused == int(query.paused))
    if query.search:
        statement = statement.where(
            workloads.c.folded.contains(query.search.casefold(), autoescape=True)
        )
    if query.tag is not None:
        tags = workload_tags.c
        tagged = exists().where(tags.object_id == schedules.c.workload_id, tags.tag == query.tag)
        statement = statement.where(tagged)
    after = paging.condition(key, schedules.c.id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(key, schedules.c.id)).limit(paging.probe)


def _replace(connection: Connection, schedule: Schedule) -> None:
    values = encode_schedule(schedule)
    for name in _TOLD_BY_TICKS:
        del values[name]
    mine = (schedules.c.id == schedule.id) & (schedules.c.owner == schedule.owner)
    if connection.execute(update(schedules).where(mine).values(values)).rowcount == 0:
        raise _not_found()


def _delete(connection: Connection, owner: str, schedule_id: str) -> None:
    _check_there(schedule_id)
    mine = (schedules.c.id == schedule_id) & (schedules.c.owner == owner)
    if connection.execute(delete(schedules).where(mine)).rowcount == 0:
        raise _not_found()
    keys.forget(connection, [schedule_id])


def _unended(connection: Connection, schedule_id: str) -> tuple[Run, ...]:
    rows = connection.execute(
        select(runs)
        .where(runs.c.schedule_id == schedule_id, runs.c.live.in_(LIVE))
        .order_by(runs.c.created_at, runs.c.id)
    )
    return tuple(map(decode_run, rows))


def _tick(
    connection: Connection,
    schedule: Schedule,
    new: Sequence[Run],
    next_tick_at: datetime | None,
    reason: Reason | None,
) -> bool:
    if schedule.next_tick_at is None or is_draining(connection):
        return False
    tick = to_micros(schedule.next_tick_at)
    is_undone = (schedules.c.id == schedule.id) & (schedules.c.next_tick_at == tick)
    done = connection.execute(
        update(schedules)
        .where(is_undone, schedules.c.paused == 0)
        .values(
            last_tick_at=tick,
            next_tick_at=FOREVER if next_tick_at is None else to_micros(next_tick_at),
            reason=None if reason is None else reason.model_dump_json(),
        )
    )
    if done.rowcount == 0:
        return False
    # A schedule that was changed may come to a tick again; it goes on, and nothing runs twice.
    try:
        with connection.begin_nested():
            insert_runs(connection, new)
    except IntegrityError:
        return False
    return True


def _next_tick_at(connection: Connection) -> datetime | None:
    if is_draining(connection):
        return None
    soonest = connection.scalar(
        select(func.min(schedules.c.next_tick_at)).where(schedules.c.paused == 0)
    )
    return None if soonest in {None, FOREVER} else from_micros(soonest)


def _count(connection: Connection, owner: str | None) -> int:
    wanted = select(func.count()).where(schedules.c.paused == 0)
    if owner is not None:
        wanted = wanted.where(schedules.c.owner == owner)
    return connection.scalar(wanted) or 0


def _check_there(schedule_id: str) -> None:
    if not is_id(schedule_id):
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("There is no such schedule.")
