"""Upstream's lists: filters, sorting by any field, and pages by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jupyter_scheduler.models import (
    DEFAULT_MAX_ITEMS,
    ListJobDefinitionsQuery,
    ListJobsQuery,
    SortDirection,
)

from himalia.client import AsyncClient
from himalia.core.model import Run
from himalia.core.service import MAX_PAGE, RunQuery
from himalia.scheduler import translation

T = TypeVar("T")

_SORTED_AT_MOST = 1000
"""How many of the newest runs are looked at for what the service cannot filter or sort by."""

_SORT_KEYS: dict[str, Callable[[Run], Any]] = {
    "create_time": lambda run: run.created_at,
    "start_time": lambda run: run.started_at or run.created_at,
    "end_time": lambda run: run.ended_at or run.created_at,
    "update_time": lambda run: run.ended_at or run.started_at or run.created_at,
    "name": lambda run: run.workload_name.lower(),
    "input_filename": lambda run: run.workload_name.lower(),
    "status": lambda run: run.status.value,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[T]):
    """One page."""

    items: Sequence[T]
    next_token: str | None
    total: int
    """Of all pages; where that would have to be counted, what is known to be there."""


def cut(items: Sequence[T], max_items: int | None, token: str | None) -> Part[T]:
    """Take the page that starts at `token`, an offset."""
    begin = int(token) if token and token.isdigit() else 0
    end = begin + (DEFAULT_MAX_ITEMS if max_items is None else max_items)
    more = str(end) if end < len(items) and end > begin else None
    return Part(items=items[begin:end], next_token=more, total=len(items))


def page(described: Iterable[Any], query: ListJobDefinitionsQuery) -> Part[Any]:
    """Filter, sort and cut what fits into memory."""
    kept = [
        one
        for one in described
        if (not query.name or one.name.lower().startswith(query.name.lower()))
        and (not query.create_time or one.create_time >= query.create_time)
        and set(query.tags or ()) <= set(one.tags or ())
    ]
    for field in reversed(query.sort_by):
        kept.sort(
            key=lambda one: _comparable(getattr(one, field.name, None)),
            reverse=field.direction == SortDirection.desc,
        )
    return cut(kept, query.max_items, query.next_token)


def _comparable(value: object) -> tuple[bool, Any]:
    return (value is not None, value.lower() if isinstance(value, str) else value or 0)


async def page_of_runs(client: AsyncClient, query: ListJobsQuery) -> Part[Run]:
    """List runs; whatever the service can do, it does."""
    statuses = translation.ours(query.status) if query.status else ()
    if query.max_items == 0 or (query.status and not statuses):
        return Part(items=(), next_token=None, total=0)
    which: dict[str, Any] = {
        "statuses": statuses,
        "workload_id": query.job_definition_id,
        "tag": next(iter(query.tags or ()), None),
        "search": query.name,
    }
    sorting = [(field.name, field.direction == SortDirection.desc) for field in query.sort_by]
    by_time = len(sorting) == 1 and sorting[0][0] == "create_time"
    if by_time and not (query.name or query.start_time or len(query.tags or ()) > 1):
        which["sort"] = "-created_at" if sorting[0][1] else "created_at"
        return await _service_page(client, query, which)
    runs = [
        run
        for run in await client.runs.list(limit=_SORTED_AT_MOST, **which)
        if (not query.name or run.workload_name.lower().startswith(query.name.lower()))
        and (
            not query.start_time
            or (translation.milliseconds(run.started_at) or 0) >= query.start_time
        )
        and set(query.tags or ()) <= set(run.tags)
    ]
    for name, is_descending in reversed(sorting):
        runs.sort(key=_SORT_KEYS.get(name, _SORT_KEYS["create_time"]), reverse=is_descending)
    return cut(runs, query.max_items, query.next_token)


async def _service_page(
    client: AsyncClient, query: ListJobsQuery, which: dict[str, Any]
) -> Part[Run]:
    """Follow the service's cursor; the token carries how many runs lie before it."""
    before, _, cursor = (query.next_token or "").partition(":")
    offset = int(before) if before.isdigit() else 0
    wanted = DEFAULT_MAX_ITEMS if query.max_items is None else query.max_items
    runs: list[Run] = []
    following: str | None = cursor or None
    service = await client.connection.service()
    while len(runs) < wanted:
        part = await service.runs.list(
            client.connection.caller,
            RunQuery(
                kind="job", cursor=following, limit=min(MAX_PAGE, wanted - len(runs)), **which
            ),
        )
        runs += part.items
        following = part.next_cursor
        if following is None:
            break
    end = offset + len(runs)
    token = f"{end}:{following}" if following else None
    return Part(items=runs, next_token=token, total=end + (1 if following else 0))
