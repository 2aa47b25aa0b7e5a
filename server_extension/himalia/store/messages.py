"""Notifications that wait to be sent, in SQL."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Connection, delete, select, update
from typing_extensions import override

from himalia.store.base import Message, MessageStore
from himalia.store.database import Database
from himalia.store.rows import to_micros
from himalia.store.tables import messages


class SqlMessages(MessageStore):
    """The outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def due(self, now: datetime, limit: int) -> tuple[Message, ...]:
        return await self._database.read(_due, now, limit)

    @override
    async def sent(self, message_id: str) -> None:
        await self._database.write(_sent, message_id)

    @override
    async def retry(self, message_id: str, not_before: datetime) -> None:
        await self._database.write(_retry, message_id, not_before)


def _due(connection: Connection, now: datetime, limit: int) -> tuple[Message, ...]:
    rows = connection.execute(
        select(messages)
        .where(messages.c.not_before <= to_micros(now))
        .order_by(messages.c.not_before, messages.c.id)
        .limit(limit)
    )
    return tuple(
        Message(
            id=row.id,
            run_id=row.run_id,
            owner=row.owner,
            body=json.loads(row.body),
            tries=row.tries,
            webhook=row.webhook,
            secret=row.secret,
            email=row.email,
        )
        for row in rows
    )


def _sent(connection: Connection, message_id: str) -> None:
    connection.execute(delete(messages).where(messages.c.id == message_id))


def _retry(connection: Connection, message_id: str, not_before: datetime) -> None:
    connection.execute(
        update(messages)
        .where(messages.c.id == message_id)
        .values(tries=messages.c.tries + 1, not_before=to_micros(not_before))
    )
