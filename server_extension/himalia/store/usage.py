"""The ledger, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, true
from typing_extensions import override

from himalia.core.model import Page, ResourceUse
from himalia.core.service import Query
from himalia.core.team import By, UsageEntry, UsageTotal
from himalia.store import ledger as books
from himalia.store import totals
from himalia.store.database import Database, batched
from himalia.store.paging import Paging, is_short_text
from himalia.store.rows import from_micros, to_micros
from himalia.store.tables import FOREVER
from himalia.store.team import UsageStore
from himalia.store.team_tables import is_open, ledger, ledger_groups

_SORTS: dict[str, type] = {"started_at": int}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery(Query):
    """Entries that were on in a time, by their start."""

    sort: str = "-started_at"
    since: datetime
    until: datetime


class SqlUsage(UsageStore):
    """Entries, and what they come to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def begin(self, entry: UsageEntry) -> None:
        await self._database.write(_begin, entry)

    @override
    async def begin_all(self, entries: Iterable[UsageEntry]) -> None:
        await self._database.write(_begin_all, tuple(entries))

    @override
    async def end(
        self, entry_id: str, at: datetime, *, cpu_seconds: float = 0, peak_memory_bytes: int = 0
    ) -> None:
        use = ResourceUse(cpu_seconds=cpu_seconds, peak_memory_bytes=peak_memory_bytes)
        await self._database.write(books.close_entry, entry_id, at, use)

    @override
    async def on(self, owners: Collection[str] | None) -> dict[str, int]:
        return await self._database.read(_on, owners)

    @override
    async def open_sessions(self) -> tuple[UsageEntry, ...]:
        return await self._database.read(_open_sessions)

    @override
    async def entries(
        self,
        owners: Collection[str] | None,
        since: datetime,
        until: datetime,
        *,
        limit: int,
        cursor: str | None = None,
    ) -> Page[UsageEntry]:
        query = EntryQuery(since=since, until=until, limit=limit, cursor=cursor)
        paging = Paging.of("", query, _SORTS, is_row_id=is_short_text)
        return await self._database.read(_entries, query, owners, paging)

    @override
    async def totals(
        self, owners: Collection[str] | None, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        end = min(until, datetime.now(UTC))
        return await self._database.read(totals.totals, owners, by, since, end)


def _begin(connection: Connection, entry: UsageEntry) -> None:
    row = entry.model_dump(exclude={"groups", "ended_at", "cpu_seconds", "peak_memory_bytes"})
    row["started_at"] = to_micros(entry.started_at)
    books.open_entry(connection, row, entry.groups)
    if entry.ended_at is not None:
        use = ResourceUse(cpu_seconds=entry.cpu_seconds, peak_memory_bytes=entry.peak_memory_bytes)
        books.close_entry(connection, entry.id, entry.ended_at, use)


def _begin_all(connection: Connection, entries: Sequence[UsageEntry]) -> None:
    for entry in entries:
        _begin(connection, entry)


def _on(connection: Connection, owners: Collection[str] | None) -> dict[str, int]:
    statement = (
        select(ledger.c.owner, func.count().label("entries"))
        .where(is_open, ledger.c.kind != books.SESSION)
        .group_by(ledger.c.owner)
    )
    if owners is None:
        return {row.owner: row.entries for row in connection.execute(statement)}
    return {
        row.owner: row.entries
        for some in batched(list(owners))
        for row in connection.execute(statement.where(ledger.c.owner.in_(some)))
    }


def _open_sessions(connection: Connection) -> tuple[UsageEntry, ...]:
    # Put in order here: asked for it, a database might read the whole ledger by its ids.
    rows = connection.execute(select(ledger).where(is_open, ledger.c.kind == books.SESSION))
    return _decode_all(connection, sorted(rows, key=lambda row: str(row.id)))


def _entries(
    connection: Connection, query: EntryQuery, owners: Collection[str] | None, paging: Paging
) -> Page[UsageEntry]:
    rows = connection.execute(entries_statement(query, owners, paging)).all()
    page = paging.page(rows, lambda row: row, lambda row: (row.started_at, row.id))
    return Page[UsageEntry].model_construct(
        items=_decode_all(connection, page.items), next_cursor=page.next_cursor
    )


def entries_statement(
    query: EntryQuery, owners: Collection[str] | None, paging: Paging
) -> Select[Any]:
    """Make the statement of one page."""
    statement = select(ledger).where(
        ledger.c.started_at < to_micros(query.until), ledger.c.ended_at > to_micros(query.since)
    )
    if owners is not None:
        statement = statement.where(ledger.c.owner.in_(owners))
    after = paging.condition(ledger.c.started_at, ledger.c.id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(ledger.c.started_at, ledger.c.id)).limit(paging.probe)


def _decode_all(connection: Connection, rows: Collection[Row[Any]]) -> tuple[UsageEntry, ...]:
    groups: dict[str, list[str]] = {}
    for some in batched([row.id for row in rows]):
        found = select(ledger_groups).where(ledger_groups.c.entry_id.in_(some))
        for row in connection.execute(found.order_by(ledger_groups.c.group_name)):
            groups.setdefault(row.entry_id, []).append(row.group_name)
    return tuple(_decode(row, groups.get(row.id, ())) for row in rows)


def _decode(row: Row[Any], groups: Collection[str]) -> UsageEntry:
    return UsageEntry.model_construct(
        id=row.id,
        kind=row.kind,
        owner=row.owner,
        name=row.name,
        groups=tuple(groups),
        project=row.project,
        object_id=row.object_id,
        title=row.title,
        cpu=row.cpu,
        memory_bytes=row.memory_bytes,
        started_at=from_micros(row.started_at),
        ended_at=None if row.ended_at == FOREVER else from_micros(row.ended_at),
        cpu_seconds=row.cpu_seconds,
        peak_memory_bytes=row.peak_memory_bytes,
    )
