"""`WorkloadService` over HTTP: to the user's control, or to a Jupyter server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import httpx
from typing_extensions import override

from himalia.core.answers import (
    CellList,
    EnvironmentList,
    OutputList,
    ProfileList,
    RunPage,
    SchedulePage,
)
from himalia.core.errors import Unavailable
from himalia.core.model import (
    Environment,
    Graph,
    LogChunk,
    Output,
    Page,
    RerunDraft,
    Run,
    RunDraft,
    RunEvent,
    Schedule,
    ScheduleDraft,
    SchedulePatch,
    ServiceStatus,
    Ticks,
    Workload,
    WorkloadDraft,
    WorkloadPatch,
)
from himalia.core.places import Places
from himalia.core.profiles import Profile
from himalia.core.service import (
    Caller,
    OpenOutput,
    Query,
    RunQuery,
    Runs,
    ScheduleQuery,
    Schedules,
    WorkloadQuery,
    Workloads,
    WorkloadService,
)
from himalia.core.spec import Spec
from himalia.kinds.registry import Kinds, load_kinds
from himalia.remote.decoding import Download, decode, read_events
from himalia.remote.team import RemoteHub, RemoteUsage
from himalia.remote.transport import Transport

_SILENCE_SECONDS = 60.0
"""Four times what passes between two signs of life of a stream."""
_FOLLOW_TRIES = 6
_FOLLOW_DELAY_SECONDS = 0.1


def _new_key() -> str:
    return uuid4().hex


def _parameters(query: Query) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(query).items() if value is not None}
    if "statuses" in fields:
        fields["status"] = [status.value for status in fields.pop("statuses")]
    return fields


class RemoteWorkloads(Workloads):
    """Definitions, elsewhere."""

    def __init__(self, transport: Transport, kinds: Kinds) -> None:
        self._transport = transport
        self._kinds = kinds

    def _path(self, kind: str, *parts: str) -> str:
        return "/".join((self._kinds.of(kind).collection, *(quote(part, "") for part in parts)))

    def _decode(self, kind: str, content: bytes) -> Workload[Spec]:
        spec: type[Spec] = self._kinds.of(kind).spec_type
        return decode(content, Workload[spec])  # type: ignore[valid-type]

    @override
    async def create(
        self,
        caller: Caller,
        kind: str,
        draft: WorkloadDraft[Spec],
        *,
        idempotency_key: str | None = None,
    ) -> Workload[Spec]:
        key = idempotency_key or _new_key()
        path = self._path(kind)
        return self._decode(kind, await self._transport.post(caller, path, draft, key))

    @override
    async def get(self, caller: Caller, kind: str, workload_id: str) -> Workload[Spec]:
        path = self._path(kind, workload_id)
        return self._decode(kind, await self._transport.get(caller, path))

    @override
    async def list(self, caller: Caller, query: WorkloadQuery) -> Page[Workload[Spec]]:
        parameters = _parameters(query)
        kind = parameters.pop("kind")
        path = self._path(kind)
        content = await self._transport.get(caller, path, parameters)
        spec: type[Spec] = self._kinds.of(kind).spec_type
        return decode(content, Page[Workload[spec]])  # type: ignore[valid-type]

    @override
    async def update(
        self, caller: Caller, kind: str, workload_id: str, patch: WorkloadPatch[Spec]
    ) -> Workload[Spec]:
        path = self._path(kind, workload_id)
        return self._decode(kind, await self._transport.patch(caller, path, patch))

    @override
    async def delete(self, caller: Caller, kind: str, workload_id: str) -> None:
        await self._transport.delete(caller, self._path(kind, workload_id))

    @override
    async def graph(self, caller: Caller, kind: str, workload_id: str) -> Graph:
        path = self._path(kind, workload_id, "graph")
        return decode(await self._transport.get(caller, path), Graph)

    async def start(
        self, caller: Caller, kind: str, workload_id: str, draft: RunDraft, key: str
    ) -> Run:
        """Run a workload again; in REST the address of its runs is below its own."""
        path = self._path(kind, workload_id, "runs")
        return decode(await self._transport.post(caller, path, draft, key), Run)


class RemoteRuns(Runs):
    """Executions, elsewhere."""

    def __init__(self, transport: Transport, workloads: RemoteWorkloads) -> None:
        self._transport = transport
        self._workloads = workloads

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
        key = idempotency_key or _new_key()
        return await self._workloads.start(caller, kind, workload_id, draft, key)

    @override
    async def rerun(
        self, caller: Caller, run_id: str, draft: RerunDraft, *, idempotency_key: str | None = None
    ) -> Run:
        key, path = idempotency_key or _new_key(), _run(run_id, "rerun")
        return decode(await self._transport.post(caller, path, draft, key), Run)

    @override
    async def get(self, caller: Caller, run_id: str) -> Run:
        return decode(await self._transport.get(caller, _run(run_id)), Run)

    @override
    async def list(self, caller: Caller, query: RunQuery) -> Page[Run]:
        parameters = _parameters(query)
        return decode(await self._transport.get(caller, "runs", parameters), RunPage)

    @override
    async def stop(self, caller: Caller, run_id: str) -> Run:
        return decode(await self._transport.post(caller, _run(run_id, "stop")), Run)

    @override
    async def delete(self, caller: Caller, run_id: str) -> None:
        await self._transport.delete(caller, _run(run_id))

    @override
    async def events(
        self, caller: Caller, run_id: str, *, after: str | None = None
    ) -> AsyncIterator[RunEvent]:
        failures = 0
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
            opening = self._transport.open(
                caller, _run(run_id, "events"), read_seconds=_SILENCE_SECONDS, headers=headers
            )
            try:
                async with opening as answer, _closing(read_events(answer.aiter_bytes())) as events:
                    async for event in events:
                        failures, after = 0, event.id
                        yield event
                        if event.type == "end":
                            return
            except httpx.TransportError as error:
                if failures >= _FOLLOW_TRIES:
                    raise Unavailable("Himalia does not answer any more.") from error
            # The service went away in the middle: find it, and go on after the last event.
            failures += 1
            if failures > _FOLLOW_TRIES:
                raise Unavailable("Himalia sends no more of this run.")
            await asyncio.sleep(_FOLLOW_DELAY_SECONDS * 2**failures)
            await self._transport.client(again=True)

    @override
    async def log(
        self, caller: Caller, run_id: str, *, offset: int = 0, limit: int = 65_536
    ) -> LogChunk:
        params, path = {"offset": offset, "limit": limit}, _run(run_id, "log")
        return decode(await self._transport.get(caller, path, params), LogChunk)

    @override
    async def outputs(self, caller: Caller, run_id: str) -> tuple[Output, ...]:
        content = await self._transport.get(caller, _run(run_id, "outputs"))
        return decode(content, OutputList).items

    @override
    async def open_output(self, caller: Caller, run_id: str, name: str) -> OpenOutput:
        path = _run(run_id, "outputs", name)
        download = Download(self._transport.open(caller, path, read_seconds=_SILENCE_SECONDS))
        with self._transport.reaching():
            return OpenOutput(output=await download.open(name), chunks=download)

    @override
    async def cells(self, caller: Caller, run_id: str) -> tuple[RunEvent, ...]:
        content = await self._transport.get(caller, _run(run_id, "cells"))
        return decode(content, CellList).items


def _run(run_id: str, *parts: str) -> str:
    return "/".join(("runs", *(quote(part, "") for part in (run_id, *parts))))


def _closing(events: AsyncIterator[RunEvent]) -> aclosing[AsyncGenerator[RunEvent]]:
    return aclosing(cast("AsyncGenerator[RunEvent]", events))


class RemoteSchedules(Schedules):
    """Times, elsewhere."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @override
    async def create(
        self, caller: Caller, draft: ScheduleDraft, *, idempotency_key: str | None = None
    ) -> Schedule:
        key = idempotency_key or _new_key()
        content = await self._transport.post(caller, "schedules", draft, key)
        return decode(content, Schedule)

    @override
    async def get(self, caller: Caller, schedule_id: str) -> Schedule:
        return decode(await self._transport.get(caller, _schedule(schedule_id)), Schedule)

    @override
    async def list(self, caller: Caller, query: ScheduleQuery) -> Page[Schedule]:
        parameters = _parameters(query)
        content = await self._transport.get(caller, "schedules", parameters)
        return decode(content, SchedulePage)

    @override
    async def update(self, caller: Caller, schedule_id: str, patch: SchedulePatch) -> Schedule:
        path = _schedule(schedule_id)
        return decode(await self._transport.patch(caller, path, patch), Schedule)

    @override
    async def delete(self, caller: Caller, schedule_id: str) -> None:
        await self._transport.delete(caller, _schedule(schedule_id))

    @override
    async def preview(self, caller: Caller, cron: str, time_zone: str, count: int = 10) -> Ticks:
        params = {"cron": cron, "time_zone": time_zone, "count": count}
        content = await self._transport.get(caller, "schedules/preview", params)
        return decode(content, Ticks)


def _schedule(schedule_id: str) -> str:
    return f"schedules/{quote(schedule_id, '')}"


class RemoteService(WorkloadService):
    """The service elsewhere; connects when it is first asked."""

    def __init__(self, transport: Transport, kinds: Kinds | None = None) -> None:
        workloads = RemoteWorkloads(transport, kinds or load_kinds())
        self._transport = transport
        self.workloads = workloads
        self.runs = RemoteRuns(transport, workloads)
        self.schedules = RemoteSchedules(transport)
        self.usage = RemoteUsage(transport)
        self.hub = RemoteHub(transport)

    @classmethod
    def of_user(cls, places: Places | None = None) -> RemoteService:
        """Talk to the control of whoever runs this process, and start it where it does not run."""
        from himalia.control.launcher import ensure_control  # noqa: PLC0415 - clients of servers need none

        return cls(Transport(find=lambda: ensure_control(places)))

    @classmethod
    def over(cls, socket: Path) -> RemoteService:
        """Talk to the control that listens at `socket`."""

        async def find() -> Path:
            return socket

        return cls(Transport(find=find))

    @classmethod
    def at(cls, url: str, token: str | None = None) -> RemoteService:
        """Talk to the Jupyter server at `url`, with its token."""
        return cls(Transport(url=url, token=token))

    @classmethod
    def at_hub(cls, url: str, token: str | None = None, *, is_near: bool = True) -> RemoteService:
        """Talk to a hub's control at `url`, with a token of the user's, a server's or a run's.

        `is_near`: this process has the user's files, and paths mean those.
        """
        return cls(Transport(hub=url, token=token, is_near=is_near))

    @override
    async def status(self, caller: Caller) -> ServiceStatus:
        return decode(await self._transport.get(caller, "status"), ServiceStatus)

    @override
    async def environments(self, caller: Caller) -> tuple[Environment, ...]:
        content = await self._transport.get(caller, "environments")
        return decode(content, EnvironmentList).items

    @override
    async def profiles(self, caller: Caller) -> tuple[Profile, ...]:
        content = await self._transport.get(caller, "profiles")
        return decode(content, ProfileList).items

    @override
    async def close(self) -> None:
        await self._transport.close()
