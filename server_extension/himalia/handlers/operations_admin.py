"""Operations of admins: what there is, and what they do to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.core.model import Page, Run
from himalia.core.team import Isolation, Overview, PersonRow, RunRow, Transfer, WorkloadRow
from himalia.handlers.admin_parameters import (
    Changed,
    EveryRunParameters,
    EveryWorkloadParameters,
    Moved,
    OrphanList,
    PersonParameters,
    Rights,
)
from himalia.handlers.calls import AdminCall, Events
from himalia.handlers.parameters import NoParameters

_SILENCE_SECONDS = 2.0
"""A proxy may hold on to a connection whose server is gone; the page must find out soon."""


async def get_rights(call: AdminCall[NoParameters, NoParameters]) -> Rights:
    """Tell who is asking."""
    return Rights.of(call.admin)


async def get_overview(call: AdminCall[NoParameters, NoParameters]) -> Overview:
    """Return the numbers."""
    return await call.administration.views.overview(call.admin)


async def get_isolation(call: AdminCall[NoParameters, NoParameters]) -> Isolation:
    """Return what was found last."""
    return await call.administration.views.isolation(call.admin)


async def list_people(call: AdminCall[PersonParameters, NoParameters]) -> Page[PersonRow]:
    """Return a page."""
    query = PersonQuery(**call.query.model_dump())
    return await call.administration.views.people(call.admin, query)


async def list_runs(call: AdminCall[EveryRunParameters, NoParameters]) -> Page[RunRow]:
    """Return a page."""
    fields = call.query.model_dump()
    query = EveryRunQuery(statuses=fields.pop("status"), **fields)
    return await call.administration.views.runs(call.admin, query)


async def list_workloads(
    call: AdminCall[EveryWorkloadParameters, NoParameters],
) -> Page[WorkloadRow]:
    """Return a page."""
    query = EveryWorkloadQuery(**call.query.model_dump())
    return await call.administration.views.workloads(call.admin, query)


async def stream_changes(call: AdminCall[NoParameters, NoParameters]) -> Events:
    """Tell when the page may be out of date."""
    return Events(events=_changes(call), keep_alive_seconds=_SILENCE_SECONDS)


async def _changes(call: AdminCall[NoParameters, NoParameters]) -> AsyncIterator[Changed]:
    revisions = cast("AsyncGenerator[int]", call.administration.views.changes(call.admin))
    async with aclosing(revisions):
        async for revision in revisions:
            yield Changed(id=str(revision), revision=revision)


async def stop_run(call: AdminCall[NoParameters, NoParameters]) -> Run:
    """Ask one to stop."""
    return await call.administration.acts.stop_run(call.admin, call.id("run_id"))


async def delete_run(call: AdminCall[NoParameters, NoParameters]) -> None:
    """Delete an ended one."""
    await call.administration.acts.delete_run(call.admin, call.id("run_id"))


async def delete_workload(call: AdminCall[NoParameters, NoParameters]) -> None:
    """Delete one."""
    await call.administration.acts.delete_workload(call.admin, call.id("workload_id"))


async def transfer(call: AdminCall[NoParameters, Transfer]) -> Moved:
    """Give a person's workloads to another."""
    acts = call.administration.acts
    count = await acts.transfer(call.admin, call.path["owner"], call.body.heir)
    return Moved(workloads=count)


async def stop_server(call: AdminCall[NoParameters, NoParameters]) -> None:
    """Stop a person's server: the default one where the path names none."""
    name = call.path.get("server", "")
    await call.administration.acts.stop_server(call.admin, call.path["owner"], name)


async def list_orphans(call: AdminCall[NoParameters, NoParameters]) -> OrphanList:
    """Find all."""
    return OrphanList(items=await call.administration.orphans.all(call.admin))


async def end_orphan(call: AdminCall[NoParameters, NoParameters]) -> None:
    """End or remove one."""
    await call.administration.orphans.end(call.admin, call.path["orphan"])
