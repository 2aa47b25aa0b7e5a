"""Operations on runs."""

from __future__ import annotations

from himalia.core.answers import CellList, OutputList
from himalia.core.model import LogChunk, Page, RerunDraft, Run
from himalia.core.service import RunQuery
from himalia.handlers.calls import Call, Events, File
from himalia.handlers.parameters import LogParameters, NoParameters, OutputParameters, RunParameters


async def list_runs(call: Call[RunParameters, NoParameters]) -> Page[Run]:
    """Return a page."""
    fields = call.query.model_dump()
    query = RunQuery(statuses=fields.pop("status"), **fields)
    return await call.service.runs.list(call.caller, query)


async def get_run(call: Call[NoParameters, NoParameters]) -> Run:
    """Return one."""
    return await call.service.runs.get(call.caller, call.id("run_id"))


async def delete_run(call: Call[NoParameters, NoParameters]) -> None:
    """Delete an ended one."""
    await call.service.runs.delete(call.caller, call.id("run_id"))


async def stop_run(call: Call[NoParameters, NoParameters]) -> Run:
    """Ask one to stop."""
    return await call.service.runs.stop(call.caller, call.id("run_id"))


async def rerun(call: Call[NoParameters, RerunDraft]) -> Run:
    """Repeat an ended one."""
    return await call.service.runs.rerun(
        call.caller, call.id("run_id"), call.body, idempotency_key=call.idempotency_key
    )


async def stream_events(call: Call[NoParameters, NoParameters]) -> Events:
    """Follow one."""
    return Events(
        events=call.service.runs.events(call.caller, call.id("run_id"), after=call.last_event_id)
    )


async def read_log(call: Call[LogParameters, NoParameters]) -> LogChunk:
    """Return part of one's log."""
    return await call.service.runs.log(
        call.caller, call.id("run_id"), offset=call.query.offset, limit=call.query.limit
    )


async def list_cells(call: Call[NoParameters, NoParameters]) -> CellList:
    """Return one's cell events."""
    return CellList(items=await call.service.runs.cells(call.caller, call.id("run_id")))


async def list_outputs(call: Call[NoParameters, NoParameters]) -> OutputList:
    """Return what one left."""
    return OutputList(items=await call.service.runs.outputs(call.caller, call.id("run_id")))


async def read_output(call: Call[OutputParameters, NoParameters]) -> File:
    """Send one of the files that one left."""
    opened = await call.service.runs.open_output(call.caller, call.id("run_id"), call.path["name"])
    return File(opened=opened, download=call.query.download)
