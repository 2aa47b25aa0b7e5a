"""The statements of admins' lists, each read in the order of an index that fits the filter."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    exists,
    false,
    func,
    select,
    true,
    union_all,
)

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.store.paging import Paging
from himalia.store.tables import runs, workloads
from himalia.store.team_tables import memberships, people
from himalia.store.workloads import with_last_run

_FEW = 8
"""So many parts of a page are read one by one and merged, each from its own place in an index."""
PERSON_KEYS: dict[str, Column[Any]] = {
    "name": people.c.folded,
    "last_seen_at": people.c.last_seen_at,
}

Owners = Collection[str] | None


def people_statement(query: PersonQuery, owners: Owners, paging: Paging) -> Select[Any]:
    """Make the statement of one page of those who are here."""
    key = PERSON_KEYS[paging.field]
    statement = select(people).where(people.c.gone_at.is_(None), _of(people.c.owner, owners))
    if query.group is not None:
        statement = statement.where(_is_in(people.c.owner, query.group))
    if query.search:
        folded = people.c.folded.contains(query.search.casefold(), autoescape=True)
        statement = statement.where(folded)
    return _page(statement, paging, key, people.c.owner)


def runs_statement(query: EveryRunQuery, owners: Owners, paging: Paging) -> Select[Any]:
    """Make the statement of one page of runs.

    Of few owners, or of one of several statuses, the first of each make the page; of many owners,
    those are passed by whose runs are not wanted.
    """
    statuses = [runs.c.status == one.value for one in dict.fromkeys(query.statuses)] or [true()]
    few = owners is not None and len(owners) * len(statuses) <= _FEW
    whose = (
        [runs.c.owner == one for one in sorted(owners or ())]
        if few
        else [_of(runs.c.owner, owners)]
    )
    parts = [
        _page(select(runs).where(owner, status, *_wanted(runs, query)), paging, *_KEYS)
        for owner in whose or [false()]
        for status in statuses
    ]
    if len(parts) == 1:
        return parts[0]
    merged = union_all(*(part.subquery().select() for part in parts)).subquery()
    order = paging.order(merged.c.created_at, merged.c.id)
    return select(*merged.c).order_by(*order).limit(paging.probe)


def workloads_statement(query: EveryWorkloadQuery, owners: Owners, paging: Paging) -> Select[Any]:
    """Make the statement of one page of workloads, each row going on with the latest run."""
    statement = with_last_run().where(_of(workloads.c.owner, owners), *_wanted(workloads, query))
    return _page(statement, paging, workloads.c.created_at, workloads.c.id)


_KEYS = (runs.c.created_at, runs.c.id)


def _page(
    statement: Select[Any], paging: Paging, key: ColumnElement[Any], row_id: ColumnElement[Any]
) -> Select[Any]:
    after = paging.condition(key, row_id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(key, row_id)).limit(paging.probe)


def _wanted(table: Table, query: EveryRunQuery | EveryWorkloadQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.kind is not None:
        filters.append(table.c.kind == query.kind)
    if query.search:
        sought = query.search.casefold()
        named = select(people.c.owner).where(people.c.folded.contains(sought, autoescape=True))
        is_named = table.c.owner.in_(named)
        filters.append(table.c.folded.contains(sought, autoescape=True) | is_named)
    return filters


def _of(owner: ColumnElement[str], owners: Owners) -> ColumnElement[bool]:
    # Not a bare column: an index by owner would give all their rows, to be sorted, for one page.
    return true() if owners is None else func.coalesce(owner, "").in_(sorted(owners))


def _is_in(owner: ColumnElement[str], group: str) -> ColumnElement[bool]:
    return exists().where(memberships.c.group_name == group, memberships.c.owner == owner)
