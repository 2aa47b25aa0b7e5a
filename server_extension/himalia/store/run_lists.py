"""Pages of runs, each read in the order of an index that fits the filter."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    exists,
    func,
    select,
    true,
    union_all,
)

from himalia.core.model import Page, Run
from himalia.core.service import RunQuery
from himalia.store.paging import Paging
from himalia.store.rows import RUN_COLUMNS, decode_run
from himalia.store.tables import run_tags, runs

SORTS: dict[str, type] = {"created_at": int, "ended_at": int}


def list_runs(connection: Connection, owner: str, query: RunQuery, paging: Paging) -> Page[Run]:
    """See :meth:`himalia.store.base.RunStore.list`."""
    rows = connection.execute(list_statement(owner, query, paging)).all()
    key = RUN_COLUMNS.index(paging.field)
    return paging.page(rows, decode_run, lambda row: (row[key], row[0]))


def list_statement(owner: str, query: RunQuery, paging: Paging) -> Select[Any]:
    """Make the statement of one page.

    One of several statuses at a time is read from an index by status; the first of each make the
    page. With another filter that has an index of its own, statuses are looked at row by row.
    """
    statuses = tuple(dict.fromkeys(query.statuses))
    has_index = query.workload_id or query.schedule_id or _by_tag(query, paging)
    if not statuses:
        return _part(owner, query, paging)
    if has_index:
        # Not a bare column: the index by status must not be chosen for it.
        status = func.coalesce(runs.c.status, "")
        return _part(owner, query, paging, status.in_([one.value for one in statuses]))
    parts = [_part(owner, query, paging, runs.c.status == one.value) for one in statuses]
    if len(parts) == 1:
        return parts[0]
    merged = union_all(*(part.subquery().select() for part in parts)).subquery()
    return (
        select(*merged.c)
        .order_by(*paging.order(merged.c[paging.field], merged.c.id))
        .limit(paging.probe)
    )


def _by_tag(query: RunQuery, paging: Paging) -> bool:
    return query.tag is not None and paging.field == "created_at"


def _part(owner: str, query: RunQuery, paging: Paging, *more: ColumnElement[bool]) -> Select[Any]:
    key: ColumnElement[Any] = runs.c[paging.field]
    row_id: ColumnElement[Any] = runs.c.id
    statement = select(runs).where(runs.c.owner == owner, *more, *_filters(query))
    tags = run_tags.c
    if _by_tag(query, paging):
        # Read in the order of the tag's own index, however rare the tag is.
        key, row_id = tags.created_at, tags.object_id
        statement = statement.join(run_tags, tags.object_id == runs.c.id).where(
            tags.owner == owner, tags.tag == query.tag
        )
    elif query.tag is not None:
        tagged = exists().where(tags.object_id == runs.c.id, tags.tag == query.tag)
        statement = statement.where(tagged)
    after = paging.condition(key, row_id)
    statement = statement.where(true() if after is None else after)
    return statement.order_by(*paging.order(key, row_id)).limit(paging.probe)


def _filters(query: RunQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.workload_id is not None:
        filters.append(runs.c.workload_id == query.workload_id)
    if query.schedule_id is not None:
        filters.append(runs.c.schedule_id == query.schedule_id)
    if query.kind is not None:
        filters.append(runs.c.kind == query.kind)
    if query.trigger is not None:
        filters.append(runs.c.trigger == query.trigger.value)
    if query.search:
        filters.append(runs.c.folded.contains(query.search.casefold(), autoescape=True))
    return filters
