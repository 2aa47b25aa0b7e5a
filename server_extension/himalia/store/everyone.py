"""Everybody's things for admins, in pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, func, literal_column, select, true
from typing_extensions import override

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.core.errors import NotFound
from himalia.core.model import Page, Run, Status
from himalia.core.names import is_id
from himalia.core.team import PersonRow, RunRow, WorkloadRow
from himalia.store import changes, everyone_statements, ledger
from himalia.store.database import Database, batched
from himalia.store.paging import Paging, is_short_text
from himalia.store.people import decode_people
from himalia.store.queue import placed
from himalia.store.rows import (
    RUN_COLUMNS,
    WORKLOAD_COLUMNS,
    DecodeSpec,
    decode_run,
    decode_workload,
    to_micros,
)
from himalia.store.run_rows import HELD, LIVE
from himalia.store.tables import runs, schedules, workloads
from himalia.store.team import ListStore
from himalia.store.team_tables import memberships, people

_MOST_ADRIFT = 200
_CREATED: dict[str, type] = {"created_at": int}
_PEOPLE: dict[str, type] = {"name": str, "last_seen_at": int}
_OWNER_OF_RUN = RUN_COLUMNS.index("owner")
_RUN_AT = RUN_COLUMNS.index("created_at")
_OWNER_OF_WORKLOAD = WORKLOAD_COLUMNS.index("owner")
_WORKLOAD_AT = WORKLOAD_COLUMNS.index("created_at")

Owners = Collection[str] | None


class SqlLists(ListStore):
    """People, runs and workloads of everybody."""

    def __init__(self, database: Database, decode_spec: DecodeSpec) -> None:
        self._database = database
        self._decode = partial(decode_workload, decode_spec=decode_spec)

    @override
    async def people(self, query: PersonQuery, owners: Owners) -> Page[PersonRow]:
        paging = Paging.of("", query, _PEOPLE, is_row_id=is_short_text)
        return await self._database.read(_people, query, owners, paging)

    @override
    async def runs(self, query: EveryRunQuery, owners: Owners) -> Page[RunRow]:
        paging = Paging.of("", query, _CREATED)
        return await self._database.read(_runs, query, owners, paging)

    @override
    async def workloads(self, query: EveryWorkloadQuery, owners: Owners) -> Page[WorkloadRow]:
        paging = Paging.of("", query, _CREATED)
        return await self._database.read(self._workloads, query, owners, paging)

    @override
    async def owner_of(self, object_id: str) -> str:
        return await self._database.read(_owner_of, object_id)

    @override
    async def adrift(self, before: datetime) -> tuple[Run, ...]:
        return await self._database.read(_adrift, before)

    @override
    async def counts(self, owners: Owners, since: datetime) -> dict[str, int]:
        return await self._database.read(_counts, owners, since)

    @override
    async def revision(self) -> int:
        return await self._database.read(changes.revision)

    def _workloads(
        self, connection: Connection, query: EveryWorkloadQuery, owners: Owners, paging: Paging
    ) -> Page[WorkloadRow]:
        wanted = _narrowed(connection, query.owner, query.group, owners)
        statement = everyone_statements.workloads_statement(query, wanted, paging)
        rows = connection.execute(statement).all()
        names = _names(connection, (row[_OWNER_OF_WORKLOAD] for row in rows))
        return paging.page(
            rows,
            lambda row: WorkloadRow.model_construct(
                workload=self._decode(row), name=names.get(row[_OWNER_OF_WORKLOAD], "")
            ),
            lambda row: (row[_WORKLOAD_AT], row[0]),
        )


def _people(
    connection: Connection, query: PersonQuery, owners: Owners, paging: Paging
) -> Page[PersonRow]:
    statement = everyone_statements.people_statement(query, owners, paging)
    rows = connection.execute(statement).all()
    key = everyone_statements.PERSON_KEYS[paging.field].name
    page = paging.page(rows, lambda row: row, lambda row: (getattr(row, key), row.owner))
    whose = [row.owner for row in page.items]
    live = _live_by_owner(connection, whose)
    defined = _count_by_owner(connection, workloads.c.owner, whose)
    hours = ledger.hours_of_owners(connection, whose, datetime.now(UTC))
    items = tuple(
        PersonRow.model_construct(
            person=person,
            servers=(),
            running=_sum(live.get(person.owner, {}), HELD),
            queued=_sum(live.get(person.owner, {}), _NOT_YET),
            workloads=defined.get(person.owner, 0),
            month_hours=hours.get(person.owner, 0.0),
        )
        for person in decode_people(connection, page.items)
    )
    return Page[PersonRow].model_construct(items=items, next_cursor=page.next_cursor)


_NOT_YET = (Status.QUEUED.value, Status.WAITING.value)


def _sum(counts: Mapping[str, int], statuses: Iterable[str]) -> int:
    return sum(counts.get(status, 0) for status in statuses)


def _live_by_owner(connection: Connection, owners: list[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for some in batched(owners):
        rows = connection.execute(
            select(runs.c.owner, runs.c.live, func.count())
            .where(runs.c.live.in_(LIVE), runs.c.owner.in_(some))
            .group_by(runs.c.owner, runs.c.live)
        )
        for owner, status, number in rows:
            found.setdefault(owner, {})[status] = number
    return found


def _count_by_owner(
    connection: Connection, owner: Column[str], owners: list[str]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in batched(owners):
        rows = connection.execute(
            select(owner, func.count()).where(owner.in_(some)).group_by(owner)
        )
        found |= {row[0]: row[1] for row in rows}
    return found


def _runs(
    connection: Connection, query: EveryRunQuery, owners: Owners, paging: Paging
) -> Page[RunRow]:
    wanted = _narrowed(connection, query.owner, query.group, owners)
    rows = connection.execute(everyone_statements.runs_statement(query, wanted, paging)).all()
    names = _names(connection, (row[_OWNER_OF_RUN] for row in rows))
    page = paging.page(rows, decode_run, lambda row: (row[_RUN_AT], row[0]))
    items = tuple(
        RunRow.model_construct(run=run, name=names.get(run.owner, ""))
        for run in placed(connection, page.items)
    )
    return Page[RunRow].model_construct(items=items, next_cursor=page.next_cursor)


def _narrowed(
    connection: Connection, owner: str | None, group: str | None, owners: Owners
) -> Owners:
    """Return whose runs are asked for, where those are known beforehand."""
    found = None if owners is None else frozenset(owners)
    if group is not None:
        members = select(memberships.c.owner).where(memberships.c.group_name == group)
        of_group = frozenset(connection.scalars(members))
        found = of_group if found is None else found & of_group
    if owner is not None:
        found = frozenset({owner}) if found is None else found & {owner}
    return found


def _names(connection: Connection, owners: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in batched(sorted(set(owners))):
        rows: Iterable[Row[Any]] = connection.execute(
            select(people.c.owner, people.c.name).where(people.c.owner.in_(some))
        )
        found |= {row.owner: row.name for row in rows}
    return found


def _owner_of(connection: Connection, object_id: str) -> str:
    for table in (runs, workloads) if is_id(object_id) else ():
        owner = connection.scalar(select(table.c.owner).where(table.c.id == object_id))
        if owner is not None:
            return str(owner)
    raise NotFound("There is no such thing.")


def _adrift(connection: Connection, before: datetime) -> tuple[Run, ...]:
    rows = connection.execute(
        select(runs)
        .where(runs.c.live.in_(HELD), runs.c.lease_until < to_micros(before))
        .order_by(runs.c.lease_until, runs.c.id)
        .limit(_MOST_ADRIFT)
    )
    return tuple(map(decode_run, rows))


def _counts(connection: Connection, owners: Owners, since: datetime) -> dict[str, int]:
    def number(owner: Column[str], *conditions: ColumnElement[bool]) -> int:
        mine = true() if owners is None else owner.in_(sorted(owners))
        return connection.scalar(select(func.count()).where(mine, *conditions)) or 0

    # Written out, since no parameter can tell a database that the index of these is meant.
    is_failed = runs.c.status == literal_column("'failed'")
    return {
        "people": number(people.c.owner, people.c.gone_at.is_(None)),
        "running": number(runs.c.owner, runs.c.live.in_(HELD)),
        "queued": number(runs.c.owner, runs.c.live.in_(_NOT_YET)),
        "schedules": number(schedules.c.owner, schedules.c.paused == 0),
        "failed": number(runs.c.owner, is_failed, runs.c.ended_at >= to_micros(since)),
    }
