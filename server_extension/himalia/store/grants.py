"""Tokens of our own making, in SQL: their hashes, and what their bearers may do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, select
from typing_extensions import override

from himalia.store.database import Database, batched
from himalia.store.rows import from_micros, to_json, to_micros
from himalia.store.run_rows import LIVE
from himalia.store.tables import runs
from himalia.store.team import Grant, GrantStore
from himalia.store.team_tables import grants
from himalia.store.upserts import put


class SqlGrants(GrantStore):
    """Grants, which end with their runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def put(self, digest: str, grant: Grant) -> None:
        await self._database.write(_put, digest, grant)

    @override
    async def find(self, digest: str, now: datetime) -> Grant | None:
        return await self._database.read(_find, digest, now)

    @override
    async def revoke(self, owner: str, *, run_ids: Sequence[str] | None = None) -> None:
        await self._database.write(revoke, owner, run_ids)


def _put(connection: Connection, digest: str, grant: Grant) -> None:
    row = {
        "digest": digest,
        "owner": grant.owner,
        "run_id": grant.run_id,
        "scopes": to_json(list(grant.scopes)),
        "expires_at": to_micros(grant.expires_at),
    }
    connection.execute(delete(grants).where(grants.c.expires_at < to_micros(datetime.now(UTC))))
    put(connection, grants, row)


def _find(connection: Connection, digest: str, now: datetime) -> Grant | None:
    # A run that is gone has ended, too.
    row = connection.execute(
        select(grants)
        .join(runs, (runs.c.id == grants.c.run_id) & (runs.c.owner == grants.c.owner))
        .where(
            grants.c.digest == digest,
            grants.c.expires_at > to_micros(now),
            runs.c.live.in_(LIVE),
        )
    ).one_or_none()
    if row is None:
        return None
    return Grant(
        owner=row.owner,
        run_id=row.run_id,
        scopes=tuple(json.loads(row.scopes)),
        expires_at=from_micros(row.expires_at),
    )


def revoke(connection: Connection, owner: str, run_ids: Sequence[str] | None = None) -> None:
    """See :meth:`himalia.store.team.GrantStore.revoke`."""
    theirs = grants.c.owner == owner
    if run_ids is None:
        connection.execute(delete(grants).where(theirs))
        return
    for some in batched(list(run_ids)):
        connection.execute(delete(grants).where(theirs, grants.c.run_id.in_(some)))
