"""What the last self-test of isolation found, in SQL."""

from __future__ import annotations

from sqlalchemy import Connection, select
from typing_extensions import override

from himalia.core.isolation import Checked
from himalia.core.team import AuditEntry, IsolationReport
from himalia.store import changes
from himalia.store.database import Database
from himalia.store.notices import append
from himalia.store.rows import from_micros, to_micros
from himalia.store.team import CheckStore
from himalia.store.team_tables import isolation
from himalia.store.upserts import put


class SqlChecks(CheckStore):
    """One row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def last(self) -> Checked | None:
        return await self._database.read(_last)

    @override
    async def put(self, checked: Checked, entry: AuditEntry) -> None:
        await self._database.write(_put, checked, entry)


def _last(connection: Connection) -> Checked | None:
    row = connection.execute(select(isolation)).one_or_none()
    if row is None:
        return None
    report = IsolationReport.model_validate_json(row.report)
    return Checked(at=from_micros(row.checked_at), report=report)


def _put(connection: Connection, checked: Checked, entry: AuditEntry) -> None:
    append(connection, entry)
    row = {
        "id": 1,
        "checked_at": to_micros(checked.at),
        "report": checked.report.model_dump_json(),
    }
    put(connection, isolation, row)
    changes.note(connection)
