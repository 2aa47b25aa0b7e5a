"""What an admin told everybody, and the log of what admins did, in SQL."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, true
from typing_extensions import override

from himalia.core.administration import AuditQuery
from himalia.core.model import Page
from himalia.core.team import AuditEntry, Notice
from himalia.store import changes
from himalia.store.database import Database
from himalia.store.paging import Paging
from himalia.store.rows import from_micros, to_json, to_micros
from himalia.store.team import NoticeStore
from himalia.store.team_tables import audit, notices
from himalia.store.upserts import put

_SORTS: dict[str, type] = {"created_at": int}


class SqlNotices(NoticeStore):
    """One notice, and a log that is only appended to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def get(self) -> Notice:
        return await self._database.read(_get)

    @override
    async def put(self, notice: Notice) -> None:
        await self._database.write(_put, notice)

    @override
    async def record(self, entry: AuditEntry) -> None:
        await self._database.write(append, entry)

    @override
    async def audit(self, query: AuditQuery, owners: Collection[str] | None) -> Page[AuditEntry]:
        paging = Paging.of("", query, _SORTS)
        return await self._database.read(_audit, query, owners, paging)


def is_draining(connection: Connection) -> bool:
    """Tell whether nothing new starts."""
    return bool(connection.scalar(select(notices.c.is_draining)))


def _get(connection: Connection) -> Notice:
    row = connection.execute(select(notices)).one_or_none()
    if row is None:
        return Notice()
    return Notice(
        banner=row.banner,
        is_draining=bool(row.is_draining),
        changed_at=None if row.changed_at is None else from_micros(row.changed_at),
        changed_by=row.changed_by,
    )


def _put(connection: Connection, notice: Notice) -> None:
    row = {
        "id": 1,
        "banner": notice.banner,
        "is_draining": int(notice.is_draining),
        "changed_at": None if notice.changed_at is None else to_micros(notice.changed_at),
        "changed_by": notice.changed_by,
    }
    put(connection, notices, row)
    changes.note(connection)


def append(connection: Connection, entry: AuditEntry) -> None:
    """Append a line to the audit log."""
    row = {
        "id": entry.id,
        "at": to_micros(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "owner": entry.owner,
        "name": entry.name,
        "object_id": entry.object_id,
        "details": to_json(entry.details),
        "folded": f"{entry.actor} {entry.action} {entry.name}".casefold(),
    }
    connection.execute(insert(audit), row)


def _audit(
    connection: Connection, query: AuditQuery, owners: Collection[str] | None, paging: Paging
) -> Page[AuditEntry]:
    rows = connection.execute(audit_statement(query, owners, paging)).all()
    return paging.page(rows, _decode, lambda row: (row.at, row.id))


def audit_statement(
    query: AuditQuery, owners: Collection[str] | None, paging: Paging
) -> Select[Any]:
    """Make the statement of one page."""
    statement = select(audit)
    if owners is not None:
        statement = statement.where(audit.c.owner.in_(owners))
    if query.since is not None:
        statement = statement.where(audit.c.at >= to_micros(query.since))
    if query.until is not None:
        statement = statement.where(audit.c.at < to_micros(query.until))
    if query.search:
        statement = statement.where(
            audit.c.folded.contains(query.search.casefold(), autoescape=True)
        )
    after = paging.condition(audit.c.at, audit.c.id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(audit.c.at, audit.c.id)).limit(paging.probe)


def _decode(row: Row[Any]) -> AuditEntry:
    return AuditEntry.model_construct(
        id=row.id,
        at=from_micros(row.at),
        actor=row.actor,
        action=row.action,
        owner=row.owner,
        name=row.name,
        object_id=row.object_id,
        details=json.loads(row.details),
    )
