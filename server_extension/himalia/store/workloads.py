"""Definitions, in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    exists,
    insert,
    select,
    true,
    union,
    update,
)
from typing_extensions import override

from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.model import GraphEdge, Page, Run, Workload
from himalia.core.names import is_id
from himalia.core.service import WorkloadQuery
from himalia.core.spec import Condition, Spec
from himalia.store import changes, keys
from himalia.store.base import Key, WorkloadStore
from himalia.store.database import Database, batched, lock
from himalia.store.paging import Paging
from himalia.store.rows import DecodeSpec, decode_run, decode_workload, encode_workload
from himalia.store.run_rows import LIVE, delete_runs, insert_runs
from himalia.store.tables import dependencies, runs, workload_tags, workloads

_SORTS: dict[str, type] = {"created_at": int, "updated_at": int, "name": str}
_SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "created_at": workloads.c.created_at,
    "updated_at": workloads.c.updated_at,
    "name": workloads.c.folded,
}


class SqlWorkloads(WorkloadStore):
    """Workloads, their tags and the dependencies between them."""

    def __init__(self, database: Database, decode_spec: DecodeSpec) -> None:
        self._database = database
        self._decode = partial(decode_workload, decode_spec=decode_spec)

    @override
    async def insert(
        self, workload: Workload[Spec], runs: Sequence[Run] = (), *, key: Key | None = None
    ) -> Workload[Spec]:
        return await self._database.write(self._insert, workload, runs, key)

    @override
    async def get(self, owner: str, kind: str, workload_id: str) -> Workload[Spec]:
        return await self._database.read(self._get, owner, kind, workload_id)

    @override
    async def find(self, owner: str, workload_ids: Iterable[str]) -> tuple[Workload[Spec], ...]:
        return await self._database.read(self._find, owner, list(dict.fromkeys(workload_ids)))

    @override
    async def list(self, owner: str, query: WorkloadQuery) -> Page[Workload[Spec]]:
        paging = Paging.of(owner, query, _SORTS)
        return await self._database.read(self._list, owner, query, paging)

    @override
    async def replace(self, workload: Workload[Spec]) -> None:
        await self._database.write(_replace, workload)

    @override
    async def delete(self, owner: str, kind: str, workload_id: str) -> tuple[Run, ...]:
        return await self._database.write(_delete, owner, kind, workload_id)

    @override
    async def edges(self, owner: str) -> tuple[GraphEdge, ...]:
        return await self._database.read(_edges, owner)

    @override
    async def snapshots(self, owner: str | None = None) -> frozenset[str]:
        return await self._database.read(lambda connection: _snapshots(connection, owner))

    def _insert(
        self,
        connection: Connection,
        workload: Workload[Spec],
        first_runs: Sequence[Run],
        key: Key | None,
    ) -> Workload[Spec]:
        if key is not None:
            earlier = keys.reserve(connection, key, workload.id)
            if earlier is not None:
                return self._earlier(connection, workload, earlier)
        connection.execute(insert(workloads), encode_workload(workload))
        _insert_parts(connection, workload)
        insert_runs(connection, first_runs)
        changes.note(connection)
        last = max(
            (run for run in first_runs if run.workload_id == workload.id),
            key=lambda run: (run.created_at, run.id),
            default=None,
        )
        return workload.model_copy(update={"last_run": last})

    def _earlier(
        self, connection: Connection, workload: Workload[Spec], workload_id: str
    ) -> Workload[Spec]:
        try:
            return self._get(connection, workload.owner, workload.kind, workload_id)
        except NotFound as error:
            raise Conflict("The idempotency key was used before, for something else.") from error

    def _get(
        self, connection: Connection, owner: str, kind: str, workload_id: str
    ) -> Workload[Spec]:
        _check_there(workload_id)
        row = connection.execute(
            with_last_run().where(
                workloads.c.id == workload_id, workloads.c.owner == owner, workloads.c.kind == kind
            )
        ).one_or_none()
        if row is None:
            raise _not_found()
        return self._decode(row)

    def _find(
        self, connection: Connection, owner: str, workload_ids: Sequence[str]
    ) -> tuple[Workload[Spec], ...]:
        found: dict[str, Workload[Spec]] = {}
        for some in batched(workload_ids):
            rows = connection.execute(
                with_last_run().where(workloads.c.id.in_(some), workloads.c.owner == owner)
            )
            found.update((row[0], self._decode(row)) for row in rows)
        return tuple(found[one] for one in workload_ids if one in found)

    def _list(
        self, connection: Connection, owner: str, query: WorkloadQuery, paging: Paging
    ) -> Page[Workload[Spec]]:
        rows = connection.execute(list_statement(owner, query, paging)).all()
        names = list(workloads.c.keys())
        key = names.index("folded" if paging.field == "name" else paging.field)
        return paging.page(rows, self._decode, lambda row: (row[key], row[0]))


def with_last_run() -> Select[Any]:
    """Select workloads, each row going on with the columns of the latest run."""
    other = runs.alias("other")
    latest = (
        select(other.c.id)
        .where(other.c.workload_id == workloads.c.id, other.c.owner == workloads.c.owner)
        .order_by(other.c.created_at.desc(), other.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(*workloads.c, *runs.c).select_from(workloads.outerjoin(runs, runs.c.id == latest))


def list_statement(owner: str, query: WorkloadQuery, paging: Paging) -> Select[Any]:
    """Make the statement of one page."""
    key, row_id = _SORT_COLUMNS[paging.field], workloads.c.id
    statement = with_last_run().where(workloads.c.owner == owner, workloads.c.kind == query.kind)
    tags = workload_tags.c
    if query.tag is not None and paging.field == "created_at":
        # Read in the order of the tag's own index, however rare the tag is.
        key, row_id = tags.created_at, tags.object_id
        statement = statement.join(workload_tags, tags.object_id == workloads.c.id).where(
            tags.owner == owner, tags.tag == query.tag
        )
    elif query.tag is not None:
        tagged = exists().where(tags.object_id == workloads.c.id, tags.tag == query.tag)
        statement = statement.where(tagged)
    if query.search:
        statement = statement.where(
            workloads.c.folded.contains(query.search.casefold(), autoescape=True)
        )
    after = paging.condition(key, row_id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(key, row_id)).limit(paging.probe)


def _insert_parts(connection: Connection, workload: Workload[Spec]) -> None:
    """Store the rows that follow from the spec."""
    _check_dependencies(connection, workload)
    after = [
        {
            "downstream": workload.id,
            "position": position,
            "upstream": dependency.workload_id,
            "owner": workload.owner,
            "condition": dependency.on.value,
        }
        for position, dependency in enumerate(workload.spec.after)
    ]
    if after:
        connection.execute(insert(dependencies), after)
    tags = [
        {
            "object_id": workload.id,
            "tag": tag,
            "owner": workload.owner,
            "created_at": encode_workload(workload)["created_at"],
        }
        for tag in dict.fromkeys(workload.spec.tags)
    ]
    if tags:
        connection.execute(insert(workload_tags), tags)


def _check_dependencies(connection: Connection, workload: Workload[Spec]) -> None:
    asked = [dependency.workload_id for dependency in workload.spec.after]
    if not asked:
        return
    lock(connection, f"dependencies of {workload.owner}")
    there = set(
        connection.scalars(
            select(workloads.c.id).where(
                workloads.c.owner == workload.owner, workloads.c.id.in_(asked)
            )
        )
    )
    for position, workload_id in enumerate(asked):
        field = f"spec.after.{position}.workload_id"
        if workload_id not in there:
            raise InvalidInput.of(field, "there is no such workload")
        if workload.id in _upstream_of(connection, workload_id):
            raise InvalidInput.of(field, "depends on this workload itself: that is a cycle")


def _upstream_of(connection: Connection, workload_id: str) -> set[str]:
    """Return a workload and all that it depends on, directly or not."""
    above = select(dependencies.c.upstream.label("id")).where(
        dependencies.c.downstream == workload_id
    )
    ancestors = above.cte("ancestors", recursive=True)
    further = select(dependencies.c.upstream).join(
        ancestors, dependencies.c.downstream == ancestors.c.id
    )
    ancestors = ancestors.union(further)
    return {workload_id, *connection.scalars(select(ancestors.c.id))}


def _replace(connection: Connection, workload: Workload[Spec]) -> None:
    values = encode_workload(workload)
    del values["created_at"]
    done = connection.execute(
        update(workloads)
        .where(
            workloads.c.id == workload.id,
            workloads.c.owner == workload.owner,
            workloads.c.kind == workload.kind,
        )
        .values(values)
    )
    if done.rowcount == 0:
        raise _not_found()
    connection.execute(delete(dependencies).where(dependencies.c.downstream == workload.id))
    connection.execute(delete(workload_tags).where(workload_tags.c.object_id == workload.id))
    _insert_parts(connection, workload)
    changes.note(connection)


def _delete(connection: Connection, owner: str, kind: str, workload_id: str) -> tuple[Run, ...]:
    _check_there(workload_id)
    lock(connection, f"dependencies of {owner}")
    mine = (workloads.c.id == workload_id) & (workloads.c.owner == owner)
    found = select(workloads.c.name).where(mine, workloads.c.kind == kind).with_for_update()
    if connection.execute(found).first() is None:
        raise _not_found()
    live = (runs.c.workload_id == workload_id) & runs.c.live.in_(LIVE)
    if connection.scalar(select(exists().where(live))):
        raise Conflict("A run of it has not ended. Stop it first, or wait for it.")
    edge = dependencies.c
    name = connection.scalar(
        select(workloads.c.name)
        .join(dependencies, edge.downstream == workloads.c.id)
        .where(edge.upstream == workload_id, edge.downstream != workload_id)
        .limit(1)
    )
    if name is not None:
        raise Conflict(f"{name!r} runs after it. Change or delete that one first.")
    rows = connection.execute(select(runs).where(runs.c.workload_id == workload_id)).all()
    ended = tuple(map(decode_run, rows))
    delete_runs(connection, runs.c.workload_id == workload_id)
    keys.forget(connection, [workload_id])
    connection.execute(delete(workloads).where(workloads.c.id == workload_id))
    changes.note(connection)
    return ended


def _edges(connection: Connection, owner: str) -> tuple[GraphEdge, ...]:
    edge = dependencies.c
    rows = connection.execute(
        select(edge.upstream, edge.downstream, edge.condition)
        .where(edge.owner == owner)
        .order_by(edge.downstream, edge.position)
    )
    return tuple(
        GraphEdge(upstream=upstream, downstream=downstream, on=Condition(condition))
        for upstream, downstream, condition in rows
    )


def _snapshots(connection: Connection, owner: str | None) -> frozenset[str]:
    needed = union(
        *(
            select(table.c.snapshot_digest).where(
                table.c.snapshot_digest.is_not(None),
                *([table.c.owner == owner] if owner is not None else []),
            )
            for table in (workloads, runs)
        )
    )
    return frozenset(connection.scalars(needed))


def _check_there(workload_id: str) -> None:
    # What cannot be an id need not be sent to the database, which may not even take its characters.
    if not is_id(workload_id):
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound("There is no such workload.")
