"""What people may take, in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete
from typing_extensions import override

from himalia.core.errors import NotFound
from himalia.core.team import Quota, Standing
from himalia.store import changes
from himalia.store.allowance import load, read_quotas
from himalia.store.database import Database
from himalia.store.team import QuotaStore
from himalia.store.team_tables import quotas
from himalia.store.upserts import put


class SqlQuotas(QuotaStore):
    """Quotas; claims keep them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def put(self, quota: Quota) -> None:
        await self._database.write(_put, quota)

    @override
    async def remove(self, scope: str, subject: str) -> None:
        await self._database.write(_remove, scope, subject)

    @override
    async def all(self) -> tuple[Quota, ...]:
        return await self._database.read(read_quotas)

    @override
    async def standings(self, owner: str, now: datetime) -> tuple[Standing, ...]:
        return await self._database.read(_standings, owner, now)


def _put(connection: Connection, quota: Quota) -> None:
    put(connection, quotas, quota.model_dump())
    changes.note(connection)


def _remove(connection: Connection, scope: str, subject: str) -> None:
    which = (quotas.c.scope == scope) & (quotas.c.subject == subject)
    if connection.execute(delete(quotas).where(which)).rowcount == 0:
        raise NotFound("There is no such quota.")
    changes.note(connection)


def _standings(connection: Connection, owner: str, now: datetime) -> tuple[Standing, ...]:
    allowance = load(connection, [owner], now, all_hours=True)
    return () if allowance is None else allowance.standings(owner)
