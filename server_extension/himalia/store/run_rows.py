"""The rows of runs: stored, changed and deleted with all that hangs on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from himalia.core.errors import NotFound
from himalia.core.model import Run, Status
from himalia.store import changes
from himalia.store.endings import store_messages
from himalia.store.rows import Values, decode_run, encode_run, to_micros
from himalia.store.tables import idempotency_keys, run_tags, runs, workloads

HELD = tuple(status.value for status in (Status.STARTING, Status.RUNNING, Status.STOPPING))
LIVE = tuple(status.value for status in Status if not status.is_terminal)


def insert_runs(connection: Connection, new: Sequence[Run]) -> None:
    """Store runs with their tags (:raises NotFound: the workload of one is not there)."""
    if not new:
        return
    # Locked, so that the workload is not deleted in between.
    wanted = {run.workload_id for run in new}
    there = select(workloads.c.id, workloads.c.spec).where(workloads.c.id.in_(wanted))
    specs = {row.id: row.spec for row in connection.execute(there.with_for_update(read=True))}
    if set(specs) != wanted:
        raise NotFound("There is no such workload.")
    asked = {workload_id: _asked(spec) for workload_id, spec in specs.items()}
    rows = [{**encode_run(run), **asked[run.workload_id]} for run in new]
    for row in rows:
        if row["rerun_of"] is not None:
            row.update(_asked_before(connection, row["rerun_of"]))
    connection.execute(insert(runs), rows)
    changes.note(connection)
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


def _asked(spec: str) -> Values:
    """Read from a spec what its runs are counted and booked by."""
    said = json.loads(spec)
    resources = said.get("resources") or {}
    return {
        "cpu": resources.get("cpu"),
        "memory_bytes": resources.get("memory_bytes"),
        "project": said.get("project") or "",
    }


def _asked_before(connection: Connection, run_id: str) -> Values:
    """Return what an earlier run asked for: it is repeated as it was, whatever changed since."""
    row = connection.execute(
        select(runs.c.cpu, runs.c.memory_bytes, runs.c.project).where(runs.c.id == run_id)
    ).one_or_none()
    return {} if row is None or row.project is None else row._asdict()


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
    changes.note(connection)
    run = decode_run(row)
    if run.status.is_terminal:
        store_messages(connection, run, now or datetime.now(UTC))
    return run


def delete_runs(connection: Connection, condition: ColumnElement[bool]) -> None:
    """Delete runs, their tags (by the foreign key) and their idempotency keys."""
    ids = select(runs.c.id).where(condition)
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.object_id.in_(ids)))
    connection.execute(delete(runs).where(condition))
    changes.note(connection)
