"""Executions of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Unpack, cast

from himalia.client.connection import Connection, collect
from himalia.client.downloads import save
from himalia.client.options import RunFilter
from himalia.client.validation import valid
from himalia.core.model import LogChunk, Output, RerunDraft, Run, RunDraft, RunEvent
from himalia.core.service import RunQuery
from himalia.core.spec import Parameters

OnEvent = Callable[[RunEvent], object]


class AsyncRuns:
    """Executions of jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(
        self,
        job_id: str,
        *,
        parameters: Parameters | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Queue a run of a job; `parameters` take precedence over the job's own."""
        service = await self._connection.service()
        draft = valid(RunDraft, parameters=parameters or {})
        return await service.runs.start(
            self._connection.caller, "job", job_id, draft, idempotency_key=idempotency_key
        )

    async def get(self, run_id: str) -> Run:
        """Return one run."""
        service = await self._connection.service()
        return await service.runs.get(self._connection.caller, run_id)

    async def list(
        self, *, limit: int | None = 25, **options: Unpack[RunFilter]
    ) -> tuple[Run, ...]:
        """Return the newest runs; `limit` None returns all."""
        service = await self._connection.service()
        query = RunQuery(kind="job", **options)
        return await collect(service.runs.list, self._connection.caller, query, limit)

    async def stop(self, run_id: str) -> Run:
        """Ask a run to stop; stopping an ended run changes nothing."""
        service = await self._connection.service()
        return await service.runs.stop(self._connection.caller, run_id)

    async def rerun(self, run_id: str, *, from_failed_cell: bool = False) -> Run:
        """Repeat an ended run with its own inputs and parameters."""
        service = await self._connection.service()
        draft = RerunDraft(from_failed_cell=from_failed_cell)
        return await service.runs.rerun(self._connection.caller, run_id, draft)

    async def delete(self, run_id: str) -> None:
        """Delete an ended run and its files."""
        service = await self._connection.service()
        await service.runs.delete(self._connection.caller, run_id)

    async def log(self, run_id: str, *, offset: int = 0, limit: int = 65_536) -> LogChunk:
        """Return part of the log; a negative offset counts from its end."""
        service = await self._connection.service()
        return await service.runs.log(self._connection.caller, run_id, offset=offset, limit=limit)

    async def events(self, run_id: str, *, after: str | None = None) -> AsyncIterator[RunEvent]:
        """Yield what happens to a run until it has ended; goes on after a lost connection."""
        service = await self._connection.service()
        stream = service.runs.events(self._connection.caller, run_id, after=after)
        async with aclosing(cast("AsyncGenerator[RunEvent]", stream)) as events:
            async for event in events:
                yield event

    async def wait(
        self,
        run_id: str,
        *,
        timeout_seconds: float | None = None,
        on_event: OnEvent | None = None,
    ) -> Run:
        """Wait until a run has ended and return it; the run goes on if the waiting ends early.

        :raises TimeoutError: it has not ended within `timeout_seconds`.
        """
        async with asyncio.timeout(timeout_seconds):
            async with aclosing(cast("AsyncGenerator[RunEvent]", self.events(run_id))) as events:
                async for event in events:
                    if on_event is not None:
                        on_event(event)
            return await self.get(run_id)

    async def outputs(self, run_id: str) -> tuple[Output, ...]:
        """Return what the run has left, the executed notebook first."""
        service = await self._connection.service()
        return await service.runs.outputs(self._connection.caller, run_id)

    async def read(self, run_id: str, name: str) -> bytes:
        """Return the content of one output."""
        service = await self._connection.service()
        opened = await service.runs.open_output(self._connection.caller, run_id, name)
        return b"".join([chunk async for chunk in opened.chunks])

    async def download(
        self, run_id: str, folder: str | Path, *, names: tuple[str, ...] | None = None
    ) -> tuple[Path, ...]:
        """Save outputs (all, unless named) below `folder` and return where they are."""
        service = await self._connection.service()
        if names is None:
            names = tuple(output.name for output in await self.outputs(run_id))
        saved = []
        for name in names:
            opened = await service.runs.open_output(self._connection.caller, run_id, name)
            saved.append(await save(opened, Path(folder), name))
        return tuple(saved)
