"""Who is next: queued runs are claimed fairly, and never beyond a quota.

All claims on one database come one after the other, so that none counts without the other's.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    exists,
    func,
    select,
    true,
    tuple_,
    update,
)

from himalia.core.model import Reason, Status
from himalia.core.quotas import CPU_OF_ONE
from himalia.store import changes
from himalia.store.allowance import Allowance, load
from himalia.store.database import batched, lock
from himalia.store.notices import is_draining
from himalia.store.rows import Values, to_micros
from himalia.store.run_rows import HELD, LIVE
from himalia.store.tables import runs

_TOLD_AT_ONCE = 1000
"""Runs that one claim tells why they wait; the rest is told by the next ones."""
_is_queued = runs.c.live == Status.QUEUED.value
_cpu = func.coalesce(runs.c.cpu, CPU_OF_ONE)
_memory = func.coalesce(runs.c.memory_bytes, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Somebody who waits, with what their queued runs are like."""

    name: str
    since: int
    largest: tuple[float, int]
    """The most cores, and the most bytes, that one of the runs asks for."""
    untold: int
    """Runs that say nothing of a quota."""
    told: frozenset[str]
    """What the others say; two of it stand for more."""


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
    owners = _waiting(connection, to_micros(now))
    allowance = load(connection, list(owners), now)
    choice = _Choice(connection, to_micros(now), owners, allowance)
    chosen = choice.make(limit)
    choice.tell(chosen)
    return chosen


class _Choice:
    """One choice, as it is made."""

    def __init__(
        self,
        connection: Connection,
        now: int,
        owners: Mapping[str, Owner],
        allowance: Allowance | None,
    ) -> None:
        self._connection = connection
        self._now = now
        self._owners = owners
        self._allowance = allowance
        self._verdicts: dict[str, Reason | None] = {}
        """Why the next run of an owner may not start, of those that had their turn."""

    def make(self, limit: int) -> list[str]:
        """Choose up to `limit` runs."""
        held = _held_by_owner(self._connection)
        turns = [(held.get(one.name, 0), one.since, one.name) for one in self._owners.values()]
        heapq.heapify(turns)
        queues: dict[str, Iterator[Row[Any]]] = {}
        chosen: list[str] = []
        while turns and len(chosen) < limit:
            count, _, owner = heapq.heappop(turns)
            # Asked before the queue is read: mostly no run of theirs may start, whatever it asks.
            self._verdicts[owner] = self._refusal(owner, 0.0, 0)
            if self._verdicts[owner] is not None:
                continue
            if owner not in queues:
                queues[owner] = iter(self._queue(owner, limit - len(chosen)))
            following = next(queues[owner], None)
            if following is None:
                continue
            self._verdicts[owner] = self._refusal(owner, following.cpu, following.memory)
            if self._verdicts[owner] is None:
                if self._allowance is not None:
                    self._allowance.take(owner, following.cpu, following.memory)
                chosen.append(following.id)
                heapq.heappush(turns, (count + 1, following.created_at, owner))
        return chosen

    def tell(self, chosen: Collection[str]) -> None:
        """Have the runs of those who had their turn say what keeps them, or nothing any more."""
        by_text: dict[str | None, list[str]] = {}
        for owner, reason in self._verdicts.items():
            text = None if reason is None else reason.model_dump_json()
            if self._has_too_large(owner):
                self._tell_apart(owner, text, chosen)
            elif not self._is_told(self._owners[owner], text):
                by_text.setdefault(text, []).append(owner)
        for text, owners in by_text.items():
            for some in batched(owners):
                self._write(text, chosen, runs.c.owner.in_(some))

    def _is_told(self, owner: Owner, text: str | None) -> bool:
        if text is None:
            return not owner.told
        return not owner.untold and owner.told == {text}

    def _refusal(self, owner: str, cpu: float, memory_bytes: int) -> Reason | None:
        if self._allowance is None:
            return None
        return self._allowance.refusal(owner, cpu, memory_bytes)

    def _queue(self, owner: str, limit: int) -> list[Row[Any]]:
        small = [self._is_small(owner)] if self._has_too_large(owner) else []
        statement = (
            select(runs.c.id, runs.c.created_at, _cpu.label("cpu"), _memory.label("memory"))
            .where(runs.c.owner == owner, *self._is_due(), *small, ~_has_earlier())
            .order_by(runs.c.created_at, runs.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return list(self._connection.execute(statement))

    def _is_due(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return _is_queued, runs.c.not_before <= self._now

    def _has_too_large(self, owner: str) -> bool:
        cpu, memory_bytes = self._owners[owner].largest
        return bool(self._allowance and self._allowance.too_large(owner, cpu, memory_bytes))

    def _is_small(self, owner: str) -> ColumnElement[bool]:
        """Make the condition that a run alone does not exceed a quota."""
        cpu, memory_bytes = self._allowance.most(owner) if self._allowance else (None, None)
        is_small = true() if cpu is None else _cpu <= cpu
        return is_small if memory_bytes is None else is_small & (_memory <= memory_bytes)

    def _tell_apart(self, owner: str, text: str | None, chosen: Collection[str]) -> None:
        is_theirs, is_small = runs.c.owner == owner, self._is_small(owner)
        statement = select(runs.c.id, _cpu.label("cpu"), _memory.label("memory"))
        large = statement.where(is_theirs, *self._is_due(), ~is_small).limit(_TOLD_AT_ONCE)
        for run in self._connection.execute(large).all():
            never = self._allowance and self._allowance.too_large(owner, run.cpu, run.memory)
            if never:
                self._write(never.model_dump_json(), chosen, runs.c.id == run.id)
        self._write(text, chosen, is_theirs, is_small)

    def _write(
        self, text: str | None, chosen: Collection[str], *which: ColumnElement[bool]
    ) -> None:
        # What a run says that no quota kept is its own: why the attempt before failed.
        is_other = runs.c.held_back == 1 if text is None else runs.c.reason.is_distinct_from(text)
        wanted = (
            select(runs.c.id)
            .where(*which, *self._is_due(), is_other, runs.c.id.not_in(chosen))
            .order_by(runs.c.created_at, runs.c.id)
            .limit(_TOLD_AT_ONCE)
        )
        values: Values = {"reason": text, "held_back": None if text is None else 1}
        done = self._connection.execute(
            update(runs)
            .where(runs.c.id.in_(wanted), _is_queued)
            .values({**values, "revision": runs.c.revision + 1})
        )
        if done.rowcount:
            changes.note(self._connection)


def _waiting(connection: Connection, now: int) -> dict[str, Owner]:
    says = case((runs.c.held_back == 1, runs.c.reason), else_=None)
    is_untold = case((runs.c.held_back.is_(None) & (runs.c.not_before <= now), 1), else_=0)
    rows = connection.execute(
        select(
            runs.c.owner,
            func.min(runs.c.created_at).label("since"),
            func.max(_cpu).label("cpu"),
            func.max(_memory).label("memory"),
            func.sum(is_untold).label("untold"),
            func.min(says).label("first"),
            func.max(says).label("last"),
        )
        .where(_is_queued)
        .group_by(runs.c.owner)
    )
    return {
        row.owner: Owner(
            name=row.owner,
            since=row.since,
            largest=(row.cpu, row.memory),
            untold=row.untold,
            told=frozenset({row.first, row.last} - {None}),
        )
        for row in rows
    }


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
