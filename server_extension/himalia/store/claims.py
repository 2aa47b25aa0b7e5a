"""Who is next: queued runs are claimed fairly, and never beyond a quota.

All claims on one database come one after the other, so that none counts without the other's.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, select, tuple_, update

from himalia.core.model import Reason, Status
from himalia.core.quotas import CPU_OF_ONE
from himalia.store import changes
from himalia.store.allowance import Allowance, load
from himalia.store.database import lock
from himalia.store.notices import is_draining
from himalia.store.rows import Values, to_micros
from himalia.store.run_rows import HELD, LIVE
from himalia.store.tables import runs

_TOLD_AT_ONCE = 100
"""Runs of one owner that are told why they wait; those behind them are told later."""
_is_queued = runs.c.live == Status.QUEUED.value
_cpu = func.coalesce(runs.c.cpu, CPU_OF_ONE)
_memory = func.coalesce(runs.c.memory_bytes, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Somebody who waits."""

    name: str
    since: int
    held_back: int
    """Runs that were told of a quota."""


def choose(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Choose who is next: of the owners with the fewest held runs, the one who waits longest.

    An owner's runs start in their order: the first that a quota stops, stops those behind it. One
    that is too large ever to start is passed by.
    """
    if not connection.scalar(select(exists().where(_is_queued))):
        return []
    lock(connection, "claims")
    if is_draining(connection):
        return []
    owners = _waiting(connection)
    allowance = load(connection, [owner.name for owner in owners], now)
    return _Choice(connection, to_micros(now), allowance).make(owners, limit)


class _Choice:
    """One choice, as it is made."""

    def __init__(self, connection: Connection, now: int, allowance: Allowance | None) -> None:
        self._connection = connection
        self._now = now
        self._allowance = allowance

    def make(self, owners: Sequence[Owner], limit: int) -> list[str]:
        """Choose up to `limit` runs; tell those that a quota stops, why."""
        held = _held_by_owner(self._connection)
        turns = [(held.get(owner.name, 0), owner.since, owner.name) for owner in owners]
        heapq.heapify(turns)
        told = {owner.name for owner in owners if owner.held_back}
        queues: dict[str, Iterator[Row[Any]]] = {}
        chosen: list[str] = []
        while turns and len(chosen) < limit:
            count, _, owner = heapq.heappop(turns)
            if owner not in queues:
                queues[owner] = iter(self._queue(owner, limit - len(chosen)))
            following = next(queues[owner], None)
            if following is None:
                self._tell(owner, None, is_told=owner in told)
            elif (reason := self._admit(owner, following)) is not None:
                self._tell(owner, reason, is_told=owner in told, chosen=chosen)
            else:
                chosen.append(following.id)
                heapq.heappush(turns, (count + 1, following.created_at, owner))
        return chosen

    def _admit(self, owner: str, run: Row[Any]) -> Reason | None:
        if self._allowance is None:
            return None
        reason = self._allowance.refusal(owner, run.cpu, run.memory)
        if reason is None:
            self._allowance.take(owner, run.cpu, run.memory)
        return reason

    def _queue(self, owner: str, limit: int) -> list[Row[Any]]:
        statement = (
            select(runs.c.id, runs.c.created_at, _cpu.label("cpu"), _memory.label("memory"))
            .where(*self._due(owner), *self._small(owner), ~_has_earlier())
            .order_by(runs.c.created_at, runs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return list(self._connection.execute(statement))

    def _due(self, owner: str) -> list[ColumnElement[bool]]:
        return [_is_queued, runs.c.owner == owner, runs.c.not_before <= self._now]

    def _small(self, owner: str) -> list[ColumnElement[bool]]:
        """Make the condition that a run alone does not exceed a quota."""
        if self._allowance is None:
            return []
        cpu, memory_bytes = self._allowance.most(owner)
        small = [] if cpu is None else [_cpu <= cpu]
        return small if memory_bytes is None else [*small, _memory <= memory_bytes]

    def _tell(
        self, owner: str, reason: Reason | None, *, is_told: bool, chosen: Sequence[str] = ()
    ) -> None:
        """Have the owner's runs say what keeps them, or nothing where nothing does any more."""
        others = [*self._due(owner), runs.c.id.not_in(chosen)]
        small = self._small(owner)
        for run in self._too_large(owner):
            never = self._allowance and self._allowance.too_large(owner, run.cpu, run.memory)
            if never:
                self._write([runs.c.id == run.id], never)
        if reason is not None:
            self._write([*others, *small], reason)
        elif is_told:
            self._write([*others, *small, runs.c.held_back == 1], None)

    def _too_large(self, owner: str) -> list[Row[Any]]:
        small = self._small(owner)
        if not small:
            return []
        is_small = small[0] if len(small) == 1 else small[0] & small[1]
        statement = select(runs.c.id, _cpu.label("cpu"), _memory.label("memory"))
        return list(
            self._connection.execute(
                statement.where(*self._due(owner), ~is_small).limit(_TOLD_AT_ONCE)
            )
        )

    def _write(self, which: Sequence[ColumnElement[bool]], reason: Reason | None) -> None:
        text = None if reason is None else reason.model_dump_json()
        values: Values = {"reason": text, "held_back": None if reason is None else 1}
        wanted = select(runs.c.id).where(*which).order_by(runs.c.created_at, runs.c.id)
        done = self._connection.execute(
            update(runs)
            .where(
                runs.c.id.in_(wanted.limit(_TOLD_AT_ONCE)),
                _is_queued,
                runs.c.reason.is_distinct_from(text),
            )
            .values({**values, "revision": runs.c.revision + 1})
        )
        if done.rowcount:
            changes.note(self._connection)


def _waiting(connection: Connection) -> list[Owner]:
    rows = connection.execute(
        select(runs.c.owner, func.min(runs.c.created_at), func.count(runs.c.held_back))
        .where(_is_queued)
        .group_by(runs.c.owner)
    )
    return [Owner(name=row[0], since=row[1], held_back=row[2]) for row in rows]


def _held_by_owner(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(runs.c.owner, func.count()).where(runs.c.live.in_(HELD)).group_by(runs.c.owner)
    )
    return {row[0]: row[1] for row in rows}


def _has_earlier() -> ColumnElement[bool]:
    """Make the condition that an earlier run of the same schedule has not ended."""
    earlier = runs.alias("earlier")
    return exists().where(
        earlier.c.schedule_id == runs.c.schedule_id,
        earlier.c.live.in_(LIVE),
        tuple_(earlier.c.created_at, earlier.c.id) < tuple_(runs.c.created_at, runs.c.id),
    )
