"""The rows of runs: stored, changed and deleted with all that hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from himalia.core.errors import NotFound
from himalia.core.model import Run, Status
from himalia.store.endings import store_messages
from himalia.store.rows import Values, decode_run, encode_run, to_micros
from himalia.store.tables import idempotency_keys, run_tags, runs, workloads

LIVE = tuple(status.value for status in Status if not status.is_terminal)


def insert_runs(connection: Connection, new: Sequence[Run]) -> None:
    """Store runs with their tags (:raises NotFound: the workload of one is not there)."""
    if not new:
        return
    # Locked, so that the workload is not deleted in between.
    wanted = {run.workload_id for run in new}
    there = select(workloads.c.id).where(workloads.c.id.in_(wanted)).with_for_update(read=True)
    if set(connection.scalars(there)) != wanted:
        raise NotFound("There is no such workload.")
    connection.execute(insert(runs), [encode_run(run) for run in new])
    tags = [
        {
            "object_id": run.id,
            "tag": tag,
            "owner": run.owner,
            "created_at": to_micros(run.created_at),
        }
        for run in new
        for tag in dict.fromkeys(run.tags)
    ]
    if tags:
        connection.execute(insert(run_tags), tags)


def update_run(
    connection: Connection, condition: ColumnElement[bool], values: Values, now: datetime | None
) -> Run | None:
    """Change the one run that meets `condition`; its end, at `now`, stores its messages."""
    if values.get("live", "") is None:
        now = now or datetime.now(UTC)
        values = {"ended_at": to_micros(now), **values}
    row = connection.execute(
        update(runs)
        .where(condition)
        .values({**values, "revision": runs.c.revision + 1})
        .returning(*runs.c)
    ).one_or_none()
    if row is None:
        return None
    run = decode_run(row)
    if run.status.is_terminal:
        store_messages(connection, run, now or datetime.now(UTC))
    return run


def delete_runs(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Delete runs, their tags (by the foreign key) and their idempotency keys."""
    ids = select(runs.c.id).where(condition)
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.object_id.in_(ids)))
    connection.execute(delete(runs).where(condition))
