"""The local service's runs: started, repeated, stopped, and what they left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from typing_extensions import override

from himalia.backends.base import AttemptRef
from himalia.core.admission import admit
from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.flows import begin, new_run
from himalia.core.following import Cursor, Following, decode_log
from himalia.core.local_parts import Parts, fields_under, key_of
from himalia.core.model import (
    CellEvent,
    LogChunk,
    Output,
    Page,
    RerunDraft,
    Run,
    RunDraft,
    RunEvent,
    Status,
    Trigger,
    Workload,
)
from himalia.core.service import Caller, OpenOutput, RunQuery, Runs
from himalia.core.spec import Spec
from himalia.store.base import Key

_MAX_LOG = 1 << 20


class LocalRuns(Runs):
    """Executions, over a store and a backend."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @override
    async def start(
        self,
        caller: Caller,
        kind: str,
        workload_id: str,
        draft: RunDraft,
        *,
        idempotency_key: str | None = None,
    ) -> Run:
        key = key_of(caller, idempotency_key, "start", kind, workload_id, body=draft)
        made = await self._parts.made_under(key)
        if made is not None:
            return await self.get(caller, made)
        workload = await self._parts.store.workloads.get(caller.owner, kind, workload_id)
        await self._parts.premises.check_parameters(workload, draft.parameters)
        run = new_run(workload, trigger=Trigger.USER, parameters=draft.parameters)
        return await self._queue(workload, run, key=key)

    @override
    async def rerun(
        self, caller: Caller, run_id: str, draft: RerunDraft, *, idempotency_key: str | None = None
    ) -> Run:
        key = key_of(caller, idempotency_key, "rerun", run_id, body=draft)
        made = await self._parts.made_under(key)
        if made is not None:
            return await self.get(caller, made)
        earlier = await self._parts.store.runs.get(caller.owner, run_id)
        if not earlier.status.is_terminal:
            raise Conflict("This run has not ended yet. Stop it, or wait for its end.")
        if draft.from_failed_cell and not await self._has_failed_cell(earlier):
            raise Conflict("No cell of this run failed, so there is none to go on from.")
        workload = await self._parts.store.workloads.get(
            caller.owner, earlier.kind, earlier.workload_id
        )
        update = {
            "parameters": earlier.parameters,
            "snapshot_digest": earlier.snapshot_digest,
            "rerun_of": earlier.id,
            "from_failed_cell": draft.from_failed_cell,
        }
        run = new_run(workload, trigger=Trigger.USER).model_copy(update=update)
        return await self._queue(workload, run, key=key)

    @override
    async def get(self, caller: Caller, run_id: str) -> Run:
        return await self._parts.store.runs.get(caller.owner, run_id)

    @override
    async def list(self, caller: Caller, query: RunQuery) -> Page[Run]:
        return await self._parts.store.runs.list(caller.owner, query)

    @override
    async def stop(self, caller: Caller, run_id: str) -> Run:
        now = datetime.now(UTC)
        run = await self._parts.store.runs.request_stop(caller.owner, run_id, now)
        self._parts.reconciler.wake()
        return run

    @override
    async def delete(self, caller: Caller, run_id: str) -> None:
        run = await self._parts.store.runs.delete(caller.owner, run_id)
        # The row is gone: what a crash leaves from here on, the keeper collects.
        await self._parts.keeper.remove_files((run,))

    @override
    async def events(
        self, caller: Caller, run_id: str, *, after: str | None = None
    ) -> AsyncIterator[RunEvent]:
        async for event in Following(self._parts, caller, run_id, after).events():
            yield event

    @override
    async def log(
        self, caller: Caller, run_id: str, *, offset: int = 0, limit: int = 65_536
    ) -> LogChunk:
        if limit < 1:
            raise InvalidInput.of("limit", "write a positive number")
        # Looked at before the log, so that the log of an ended run is all there is.
        run = await self._parts.store.runs.get(caller.owner, run_id)
        is_ended = run.status.is_terminal
        if run.attempt == 0:
            return LogChunk(text="", offset=0, next_offset=0, complete=is_ended)
        size = min(max(limit, 16), _MAX_LOG)
        part = await self._parts.backend.log(_ref(run), offset=offset, limit=size)
        is_all = part.next_offset - part.offset < size
        text, start, end = decode_log(part, is_complete=is_ended and is_all)
        return LogChunk(text=text, offset=start, next_offset=end, complete=is_ended and is_all)

    @override
    async def outputs(self, caller: Caller, run_id: str) -> tuple[Output, ...]:
        run = await self._parts.store.runs.get(caller.owner, run_id)
        return await self._parts.backend.outputs(_ref(run)) if run.attempt else ()

    @override
    async def open_output(self, caller: Caller, run_id: str, name: str) -> OpenOutput:
        run = await self._parts.store.runs.get(caller.owner, run_id)
        known = await self._parts.backend.outputs(_ref(run)) if run.attempt else ()
        # Only what is listed can be opened, so a name needs no other check.
        output = next((item for item in known if item.name == name), None)
        if output is None:
            raise NotFound("This run has no such output.")
        return OpenOutput(
            output=output, chunks=self._parts.backend.read_output(_ref(run), output.name)
        )

    @override
    async def cells(self, caller: Caller, run_id: str) -> tuple[RunEvent, ...]:
        run = await self._parts.store.runs.get(caller.owner, run_id)
        cursor = Cursor(attempt=run.attempt, revision=run.revision)
        return tuple(
            RunEvent(id=str(replace(cursor, skip=index)), type="cell", cell=event)
            for index, event in enumerate(await self._cells(run), 1)
        )

    async def _queue(self, workload: Workload[Spec], run: Run, *, key: Key | None) -> Run:
        with fields_under("spec"):
            await self._parts.profile(workload.owner, workload.spec.profile)
        await admit(self._parts.store.team, workload.owner, workload.spec)
        if run.snapshot_digest is not None:
            await self._parts.premises.hold(run.owner, run.snapshot_digest)
        runs = await begin(self._parts.store, workload, run)
        async with self._parts.room(len(runs)):
            stored = await self._parts.store.runs.insert(runs, key=key)
        self._parts.reconciler.wake()
        return stored

    async def _has_failed_cell(self, run: Run) -> bool:
        if run.status is not Status.FAILED:
            return False
        return any(cell.state == "failed" for cell in await self._cells(run))

    async def _cells(self, run: Run) -> tuple[CellEvent, ...]:
        cells: tuple[CellEvent, ...] = ()
        position, end = -1, 0
        while run.attempt and end != position:
            position = end
            events, end = await self._parts.backend.events(_ref(run), after=position)
            cells += events
        return cells


def _ref(run: Run) -> AttemptRef:
    return AttemptRef(owner=run.owner, run_id=run.id, attempt=run.attempt)
