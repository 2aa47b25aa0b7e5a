"""Runs that a reconciler holds: claimed, renewed, taken over and changed under a token."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select, update
from typing_extensions import override

from himalia.core.model import Run, Status, Target
from himalia.core.names import attempt_name
from himalia.store import changes, ledger
from himalia.store.base import Change, Held, HoldStore, Spell
from himalia.store.claims import choose
from himalia.store.database import Database
from himalia.store.rows import decode_run, encode_change, status_values, to_micros
from himalia.store.run_rows import HELD, update_run
from himalia.store.tables import runs

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
    chosen = choose(connection, now, limit)
    if not chosen:
        return ()
    held = _hold(
        connection,
        now,
        (runs.c.id.in_(chosen)) & (runs.c.live == Status.QUEUED.value),
        {
            **status_values(Status.STARTING),
            "attempt": runs.c.attempt + 1,
            "reason": None,
            "progress": None,
            "not_before": 0,
            "held_back": None,
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
        now,
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
    is_mine = runs.c.live.in_(HELD) & (runs.c.holder == holder)
    mine = connection.execute(
        select(runs.c.id, runs.c.token).where(is_mine).with_for_update()
    ).all()
    kept = [run_id for run_id, token in mine if tokens.get(run_id) == token]
    if kept:
        # Thousands of ids in a statement are more than a database takes, and seldom needed.
        which = is_mine if len(kept) == len(mine) else runs.c.id.in_(kept)
        connection.execute(update(runs).where(which).values(lease_until=to_micros(lease_until)))
    return frozenset(tokens) - frozenset(kept)


def _change(connection: Connection, run_id: str, token: int, new: Change) -> Run | None:
    values = encode_change(new)
    if new.status.value not in HELD:
        values = {"reason": None, **values, "holder": None, "lease_until": 0}
    elif new.is_reason_whole:
        is_asked = runs.c.target == Target.STOP.value
        values["reason"] = case((is_asked, runs.c.reason), else_=values.get("reason"))
    is_held = (runs.c.id == run_id) & (runs.c.token == token) & runs.c.holder.is_not(None)
    run = update_run(connection, is_held & runs.c.live.is_not(None), values, new.ended_at)
    if run is not None:
        _book(connection, run, new)
    return run


def _hold(
    connection: Connection, now: datetime, condition: ColumnElement[bool], values: dict[str, Any]
) -> tuple[Held, ...]:
    numbers = {"token": runs.c.token + 1, "revision": runs.c.revision + 1}
    rows = connection.execute(
        update(runs).where(condition).values({**values, **numbers}).returning(*runs.c)
    ).all()
    if rows:
        changes.note(connection)
    for row in rows:
        # Taken over, it has its entry already, unless a release before the ledger claimed it.
        ledger.open_attempt(connection, row, now)
    return tuple(Held(run=decode_run(row), token=row[_TOKEN]) for row in rows)


def _book(connection: Connection, run: Run, new: Change) -> None:
    """Close the ledger's entry of the attempt that a change ends."""
    if new.status.value in HELD:
        return
    if new.attempt is not None:
        # It was put off before it started.
        ledger.drop_entry(connection, attempt_name(run.id, new.attempt + 1))
        return
    spell = new.spell or Spell(until=datetime.now(UTC), use=new.use)
    ledger.close_entry(connection, attempt_name(run.id, run.attempt), spell.until, spell.use)
