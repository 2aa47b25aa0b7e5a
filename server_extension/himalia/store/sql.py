"""The store in SQL, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typing_extensions import override

from himalia.store import keys, schema
from himalia.store.base import Key, Store
from himalia.store.database import Database, store_url
from himalia.store.holds import SqlHolds
from himalia.store.messages import SqlMessages
from himalia.store.rows import DecodeSpec
from himalia.store.runs import SqlRuns
from himalia.store.schedules import SqlSchedules
from himalia.store.team_sql import SqlTeam
from himalia.store.workloads import SqlWorkloads


class SqlStore(Store):
    """A store at the path of an SQLite file, or at the URL of a database.

    `decode_spec` turns the kind and the stored JSON of a spec into the kind's own spec.
    """

    def __init__(self, target: Path | str, decode_spec: DecodeSpec) -> None:
        self._database = Database(store_url(target))
        self.workloads = SqlWorkloads(self._database, decode_spec)
        self.runs = SqlRuns(self._database)
        self.holds = SqlHolds(self._database)
        self.schedules = SqlSchedules(self._database, decode_spec)
        self.messages = SqlMessages(self._database)
        self.team = SqlTeam(self._database, decode_spec)

    @override
    async def open(self) -> None:
        await asyncio.to_thread(schema.prepare, self._database.url)
        self._database.connect()

    @override
    async def made_under(self, key: Key) -> str | None:
        return await self._database.read(keys.find, key)

    @override
    async def close(self) -> None:
        await self._database.close()
