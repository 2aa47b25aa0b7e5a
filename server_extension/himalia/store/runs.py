"""Executions, in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select
from typing_extensions import override

from himalia.core.errors import Conflict, NotFound
from himalia.core.model import Page, Reason, Run, Status, Target
from himalia.core.names import is_id
from himalia.core.service import RunQuery
from himalia.store import flows, keys
from himalia.store.base import Key, RunStore
from himalia.store.database import Database, batched
from himalia.store.paging import Paging
from himalia.store.queue import placed
from himalia.store.rows import Values, decode_run, status_values
from himalia.store.run_lists import SORTS, list_runs
from himalia.store.run_rows import LIVE, delete_runs, insert_runs, update_run
from himalia.store.tables import runs

_STOPPED = Reason(
    code="stopped_by_user",
    message="The run was stopped before it started.",
    next_step="Run it again when you like.",
)


class SqlRuns(RunStore):
    """Runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def insert(self, runs: Sequence[Run], *, key: Key | None = None) -> Run:
        return await self._database.write(_insert, runs, key)

    @override
    async def get(self, owner: str, run_id: str) -> Run:
        return await self._database.read(_get, owner, run_id)

    @override
    async def list(self, owner: str, query: RunQuery) -> Page[Run]:
        paging = Paging.of(owner, query, SORTS)
        return await self._database.read(list_runs, owner, query, paging)

    @override
    async def request_stop(
        self, owner: str, run_id: str, now: datetime, *, reason: Reason | None = None
    ) -> Run:
        return await self._database.write(_request_stop, owner, run_id, now, reason)

    @override
    async def known(self, run_ids: Iterable[str]) -> frozenset[str]:
        return await self._database.read(_known, list(run_ids))

    @override
    async def delete(self, owner: str, run_id: str) -> Run:
        return await self._database.write(_delete, owner, run_id)

    @override
    async def counts(self, owner: str | None = None) -> dict[Status, int]:
        return await self._database.read(_counts, owner)

    @override
    async def waiting(self) -> tuple[tuple[Run, ...], ...]:
        return await self._database.read(flows.waiting)

    @override
    async def settle(self, run_id: str, status: Status, reason: Reason | None) -> Run | None:
        return await self._database.write(flows.settle, run_id, status, reason)

    @override
    async def expired(self, now: datetime, limit: int) -> tuple[Run, ...]:
        return await self._database.read(flows.expired, now, limit)


def _insert(connection: Connection, new: Sequence[Run], key: Key | None) -> Run:
    first = new[0]
    if key is not None:
        earlier = keys.reserve(connection, key, first.id)
        if earlier is not None:
            try:
                return _get(connection, first.owner, earlier)
            except NotFound as error:
                raise Conflict("The idempotency key was used for something else.") from error
    insert_runs(connection, new)
    return first


def _get(connection: Connection, owner: str, run_id: str) -> Run:
    row = None
    if is_id(run_id):
        mine = (runs.c.id == run_id) & (runs.c.owner == owner)
        row = connection.execute(select(runs).where(mine)).one_or_none()
    if row is None:
        raise NotFound("There is no such run.")
    return placed(connection, [decode_run(row)])[0]


def _request_stop(
    connection: Connection, owner: str, run_id: str, now: datetime, reason: Reason | None
) -> Run:
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())
    run = _get(connection, owner, run_id)
    this = (runs.c.id == run_id) & (runs.c.owner == owner)
    if run.status.is_terminal:
        return run
    if run.status in {Status.WAITING, Status.QUEUED}:
        values = {
            **status_values(Status.STOPPED),
            "target": Target.STOP.value,
            "reason": (reason or _STOPPED).model_dump_json(),
        }
        return update_run(connection, this, values, now) or run
    if run.target is Target.STOP:
        return run
    asked: Values = {"target": Target.STOP.value}
    if reason is not None:
        asked["reason"] = reason.model_dump_json()
    return update_run(connection, this, asked, None) or run


def _known(connection: Connection, run_ids: list[str]) -> frozenset[str]:
    found: set[str] = set()
    for some in batched(run_ids):
        found.update(connection.scalars(select(runs.c.id).where(runs.c.id.in_(some))))
    return frozenset(found)


def _delete(connection: Connection, owner: str, run_id: str) -> Run:
    run = _get(connection, owner, run_id)
    if not run.status.is_terminal:
        raise Conflict("The run has not ended. Stop it first, or wait for it.")
    # Ended runs never change again, so nothing can have happened in between.
    delete_runs(connection, (runs.c.id == run_id) & (runs.c.owner == owner))
    return run


def _counts(connection: Connection, owner: str | None) -> dict[Status, int]:
    wanted = select(runs.c.live, func.count()).where(runs.c.live.in_(LIVE)).group_by(runs.c.live)
    if owner is not None:
        wanted = wanted.where(runs.c.owner == owner)
    rows = connection.execute(wanted)
    return {Status(status): count for status, count in rows}
