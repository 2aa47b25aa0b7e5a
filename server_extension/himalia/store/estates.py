"""What becomes of a person's things when the hub knows them no more."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Table, delete, exists, func, select, update

from himalia.core.errors import Conflict
from himalia.core.model import Reason, Run, Status, Target
from himalia.store import changes
from himalia.store.database import lock
from himalia.store.grants import revoke
from himalia.store.rows import decode_run, status_values, to_micros
from himalia.store.run_rows import HELD, LIVE, delete_runs, update_run
from himalia.store.tables import (
    dependencies,
    idempotency_keys,
    messages,
    run_tags,
    runs,
    schedules,
    workload_tags,
    workloads,
)
from himalia.store.team_tables import people

GONE = Reason(
    code="owner_gone",
    message="The hub knows the owner of this run no more, so it was stopped.",
    next_step="An admin can give it to somebody else, or delete it.",
)


def close(connection: Connection, owner: str, at: datetime) -> None:
    """See :meth:`himalia.store.team.PeopleStore.gone`."""
    is_theirs = people.c.owner == owner
    connection.execute(
        update(people).where(is_theirs, people.c.gone_at.is_(None)).values(gone_at=to_micros(at))
    )
    connection.execute(
        update(schedules)
        .where(schedules.c.owner == owner, schedules.c.paused == 0)
        .values(paused=1, updated_at=to_micros(at), reason=GONE.model_dump_json())
    )
    reason = GONE.model_dump_json()
    stop = {"target": Target.STOP.value, "reason": reason}
    mine = runs.c.owner == owner
    waiting = runs.c.live.in_((Status.WAITING.value, Status.QUEUED.value))
    for run_id in connection.scalars(
        select(runs.c.id).where(mine, waiting).with_for_update()
    ).all():
        values = {**status_values(Status.STOPPED), **stop}
        update_run(connection, (runs.c.id == run_id) & waiting, values, at)
    connection.execute(
        update(runs)
        .where(mine, runs.c.live.in_(HELD), runs.c.target != Target.STOP.value)
        .values({**stop, "revision": runs.c.revision + 1})
    )
    revoke(connection, owner)
    changes.note(connection)


def transfer(connection: Connection, owner: str, heir: str) -> int:
    """See :meth:`himalia.store.team.PeopleStore.transfer`."""
    _check_ended(connection, owner)
    number = connection.scalar(select(func.count()).where(workloads.c.owner == owner)) or 0
    for table in (workloads, workload_tags, dependencies, runs, run_tags, schedules, messages):
        connection.execute(update(table).where(table.c.owner == owner).values(owner=heir))
    # A key is a promise to who used it.
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.owner == owner))
    revoke(connection, owner)
    changes.note(connection)
    return number


def purge(connection: Connection, owner: str) -> tuple[Run, ...]:
    """See :meth:`himalia.store.team.PeopleStore.purge`."""
    _check_ended(connection, owner)
    rows = connection.execute(select(runs).where(runs.c.owner == owner)).all()
    delete_runs(connection, runs.c.owner == owner)
    tables: tuple[Table, ...] = (schedules, dependencies, workloads, messages, idempotency_keys)
    for table in tables:
        connection.execute(delete(table).where(table.c.owner == owner))
    revoke(connection, owner)
    changes.note(connection)
    return tuple(map(decode_run, rows))


def _check_ended(connection: Connection, owner: str) -> None:
    # Nothing of theirs may begin meanwhile: what submits locks their workloads.
    lock(connection, f"dependencies of {owner}")
    connection.execute(select(workloads.c.id).where(workloads.c.owner == owner).with_for_update())
    live = (runs.c.owner == owner) & runs.c.live.in_(LIVE)
    if connection.scalar(select(exists().where(live))):
        raise Conflict("A run of theirs has not ended. Stop it first, or wait for it.")
