"""Runs that a reconciler holds: claimed, renewed, taken over and changed under a token."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, tuple_, update
from typing_extensions import override

from himalia.core.model import Run, Status, Target
from himalia.store.base import Change, Held, HoldStore
from himalia.store.database import Database
from himalia.store.rows import decode_run, encode_change, status_values, to_micros
from himalia.store.run_rows import LIVE, update_run
from himalia.store.tables import runs

HELD = tuple(status.value for status in (Status.STARTING, Status.RUNNING, Status.STOPPING))
_TOKEN = list(runs.c.keys()).index("token")


class SqlHolds(HoldStore):
    """Leases and what is written under them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def claim(
        self, holder: str, *, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[Held, ...]:
        return await self._database.write(_claim, holder, now, lease_until, limit)

    @override
    async def take_over(
        self, holder: str, *, now: datetime, lease_until: datetime, own: bool = True
    ) -> tuple[Held, ...]:
        return await self._database.write(_take_over, holder, now, lease_until, own)

    @override
    async def stopping(self, holder: str) -> tuple[Run, ...]:
        return await self._database.read(_stopping, holder)

    @override
    async def renew(
        self, holder: str, tokens: Iterable[tuple[str, int]], lease_until: datetime
    ) -> frozenset[str]:
        return await self._database.write(_renew, holder, dict(tokens), lease_until)

    @override
    async def change(self, run_id: str, token: int, change: Change) -> Run | None:
        return await self._database.write(_change, run_id, token, change)


def _claim(
    connection: Connection, holder: str, now: datetime, lease_until: datetime, limit: int
) -> tuple[Held, ...]:
    chosen = _choose(connection, to_micros(now), limit)
    if not chosen:
        return ()
    held = _hold(
        connection,
        (runs.c.id.in_(chosen)) & (runs.c.live == Status.QUEUED.value),
        {
            **status_values(Status.STARTING),
            "attempt": runs.c.attempt + 1,
            "reason": None,
            "progress": None,
            "not_before": 0,
            "holder": holder,
            "lease_until": to_micros(lease_until),
        },
    )
    rank = {run_id: place for place, run_id in enumerate(chosen)}
    return tuple(sorted(held, key=lambda one: rank[one.run.id]))


def _take_over(
    connection: Connection, holder: str, now: datetime, lease_until: datetime, own: bool
) -> tuple[Held, ...]:
    is_free = runs.c.lease_until <= to_micros(now)
    if own:
        is_free |= runs.c.holder == holder
    return _hold(
        connection,
        runs.c.live.in_(HELD) & is_free,
        {"holder": holder, "lease_until": to_micros(lease_until)},
    )


def _stopping(connection: Connection, holder: str) -> tuple[Run, ...]:
    rows = connection.execute(
        select(runs).where(
            runs.c.live.in_(HELD), runs.c.holder == holder, runs.c.target == Target.STOP.value
        )
    )
    return tuple(map(decode_run, rows))


def _renew(
    connection: Connection, holder: str, tokens: dict[str, int], lease_until: datetime
) -> frozenset[str]:
    mine = connection.execute(
        select(runs.c.id, runs.c.token)
        .where(runs.c.live.in_(HELD), runs.c.holder == holder)
        .with_for_update()
    )
    kept = [run_id for run_id, token in mine if tokens.get(run_id) == token]
    if kept:
        connection.execute(
            update(runs).where(runs.c.id.in_(kept)).values(lease_until=to_micros(lease_until))
        )
    return frozenset(tokens) - frozenset(kept)


def _change(connection: Connection, run_id: str, token: int, new: Change) -> Run | None:
    values = encode_change(new)
    if new.status.value not in HELD:
        values = {"reason": None, **values, "holder": None, "lease_until": 0}
    is_held = (runs.c.id == run_id) & (runs.c.token == token) & runs.c.holder.is_not(None)
    return update_run(connection, is_held & runs.c.live.is_not(None), values, new.ended_at)


def _hold(
    connection: Connection, condition: ColumnElement[bool], values: dict[str, Any]
) -> tuple[Held, ...]:
    numbers = {"token": runs.c.token + 1, "revision": runs.c.revision + 1}
    rows = connection.execute(
        update(runs).where(condition).values({**values, **numbers}).returning(*runs.c)
    ).all()
    return tuple(Held(run=decode_run(row), token=row[_TOKEN]) for row in rows)


def _choose(connection: Connection, now: int, limit: int) -> list[str]:
    """Choose who is next: of the owners with the fewest held runs, the one who waits longest."""
    waiting = connection.execute(
        select(runs.c.owner, func.min(runs.c.created_at))
        .where(runs.c.live == Status.QUEUED.value)
        .group_by(runs.c.owner)
    ).all()
    if not waiting:
        return []
    held = _held_by_owner(connection)
    turns = [(held.get(owner, 0), since, owner) for owner, since in waiting]
    heapq.heapify(turns)
    queues: dict[str, Iterator[Row[Any]]] = {}
    chosen: list[str] = []
    while turns and len(chosen) < limit:
        count, _, owner = heapq.heappop(turns)
        if owner not in queues:
            queues[owner] = iter(_queue(connection, owner, now, limit - len(chosen)))
        following = next(queues[owner], None)
        if following is not None:
            chosen.append(following.id)
            heapq.heappush(turns, (count + 1, following.created_at, owner))
    return chosen


def _held_by_owner(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(runs.c.owner, func.count()).where(runs.c.live.in_(HELD)).group_by(runs.c.owner)
    )
    return {row[0]: row[1] for row in rows}


def _queue(connection: Connection, owner: str, now: int, limit: int) -> list[Row[Any]]:
    earlier = runs.alias("earlier")
    has_earlier = exists().where(
        earlier.c.schedule_id == runs.c.schedule_id,
        earlier.c.live.in_(LIVE),
        tuple_(earlier.c.created_at, earlier.c.id) < tuple_(runs.c.created_at, runs.c.id),
    )
    return list(
        connection.execute(
            select(runs.c.id, runs.c.created_at)
            .where(
                runs.c.live == Status.QUEUED.value,
                runs.c.owner == owner,
                runs.c.not_before <= now,
                ~has_earlier,
            )
            .order_by(runs.c.created_at, runs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    )
