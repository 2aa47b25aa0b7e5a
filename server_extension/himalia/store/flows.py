"""Runs that wait for others, and runs that retention no longer keeps."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, Select, exists, func, select

from himalia.core.model import Reason, Run, Status
from himalia.store.rows import decode_run, status_values, to_micros
from himalia.store.run_rows import update_run
from himalia.store.tables import runs, workloads


def waiting(connection: Connection) -> tuple[tuple[Run, ...], ...]:
    """See :meth:`himalia.store.base.RunStore.waiting`."""
    unsettled = select(runs.c.flow_id).where(runs.c.live == Status.WAITING.value)
    rows = connection.execute(
        select(runs)
        .where(runs.c.flow_id.in_(unsettled))
        .order_by(runs.c.flow_id, runs.c.created_at, runs.c.id)
    )
    by_flow = groupby(map(decode_run, rows), key=lambda run: run.flow_id)
    return tuple(tuple(members) for _, members in by_flow)


def settle(
    connection: Connection, run_id: str, status: Status, reason: Reason | None
) -> Run | None:
    """See :meth:`himalia.store.base.RunStore.settle`."""
    values = status_values(status)
    if reason is not None:
        values["reason"] = reason.model_dump_json()
    is_waiting = (runs.c.id == run_id) & (runs.c.live == Status.WAITING.value)
    return update_run(connection, is_waiting, values, None)


def expired(connection: Connection, now: datetime, limit: int) -> tuple[Run, ...]:
    """See :meth:`himalia.store.base.RunStore.expired`."""
    other = runs.alias("other")
    # A flow that still passes is judged by the ends of all its runs, and a run that goes on from
    # another's outputs needs them.
    is_free = ~exists().where(
        (other.c.flow_id == runs.c.flow_id) & other.c.live.is_not(None)
    ) & ~exists().where((other.c.rerun_of == runs.c.id) & other.c.live.is_not(None))
    oldest_kept = to_micros(now) - workloads.c.keep_micros
    too_old = (
        select(runs.c.id)
        .join(workloads, workloads.c.id == runs.c.workload_id)
        .where(
            workloads.c.keep_micros.is_not(None),
            runs.c.workload_id.in_(_with(workloads.c.keep_micros)),
            runs.c.owner == workloads.c.owner,
            runs.c.ended_at < oldest_kept,
        )
    )
    age = func.row_number().over(
        partition_by=runs.c.workload_id, order_by=(runs.c.created_at.desc(), runs.c.id.desc())
    )
    ranked = (
        select(runs.c.id, age.label("age"), workloads.c.keep_runs)
        .join(workloads, workloads.c.id == runs.c.workload_id)
        .where(runs.c.workload_id.in_(_with(workloads.c.keep_runs)), runs.c.live.is_(None))
        .subquery()
    )
    too_many = select(ranked.c.id).where(ranked.c.age > ranked.c.keep_runs)
    rows = connection.execute(
        select(runs)
        .where(runs.c.id.in_(too_old.union(too_many)), is_free)
        .order_by(runs.c.created_at, runs.c.id)
        .limit(limit)
    )
    return tuple(map(decode_run, rows))


def _with(limit: Column[int]) -> Select[Any]:
    """Select the workloads that have a limit: few, and by their own index."""
    return select(workloads.c.id).where(limit.is_not(None))
