"""Which of several controls does what only one may do, in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select
from typing_extensions import override

from himalia.store.database import Database
from himalia.store.rows import to_micros
from himalia.store.team import LeaderStore
from himalia.store.team_tables import duties
from himalia.store.upserts import insert_into


class SqlLeaders(LeaderStore):
    """Duties, each with one holder until a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def lead(self, duty: str, holder: str, now: datetime, until: datetime) -> bool:
        return await self._database.write(_lead, duty, holder, now, until)

    @override
    async def resign(self, holder: str) -> None:
        await self._database.write(_resign, holder)

    @override
    async def leaders(self, now: datetime) -> dict[str, str]:
        return await self._database.read(_leaders, now)


def _lead(connection: Connection, duty: str, holder: str, now: datetime, until: datetime) -> bool:
    mine = {"holder": holder, "until": to_micros(until)}
    is_free = (duties.c.holder == holder) | (duties.c.until <= to_micros(now))
    taken = connection.execute(
        insert_into(connection, duties)
        .values(duty=duty, **mine)
        .on_conflict_do_update(index_elements=["duty"], set_=mine, where=is_free)
        .returning(duties.c.duty)
    )
    return taken.first() is not None


def _resign(connection: Connection, holder: str) -> None:
    connection.execute(delete(duties).where(duties.c.holder == holder))


def _leaders(connection: Connection, now: datetime) -> dict[str, str]:
    rows = connection.execute(
        select(duties.c.duty, duties.c.holder).where(duties.c.until > to_micros(now))
    )
    return {row.duty: row.holder for row in rows}
