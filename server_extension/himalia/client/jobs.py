"""Notebooks defined as jobs, and the times at which they run."""

from __future__ import annotations

from typing import Any, Unpack, cast

from himalia.client.connection import Connection, collect
from himalia.client.options import (
    JobOptions,
    ListOptions,
    ScheduleChanges,
    ScheduleFilter,
    ScheduleOptions,
)
from himalia.client.validation import valid, validated
from himalia.core.model import (
    Graph,
    Schedule,
    ScheduleDraft,
    SchedulePatch,
    Ticks,
    Workload,
    WorkloadDraft,
    WorkloadPatch,
)
from himalia.core.service import ScheduleQuery, WorkloadQuery
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec

Job = Workload[JobSpec]


class AsyncJobs:
    """Notebooks defined as jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        notebook: str,
        *,
        name: str | None = None,
        run: bool = True,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Define a job, pin its inputs and, unless told otherwise, start a first run."""
        connection = self._connection
        spec = validated(JobSpec, connection.with_paths({"notebook": notebook, **options}))
        draft = valid(WorkloadDraft[Spec], name=name, spec=spec, run=run)
        service = await connection.service()
        made = await service.workloads.create(
            connection.caller, "job", draft, idempotency_key=idempotency_key
        )
        return cast("Job", made)

    async def get(self, job_id: str) -> Job:
        """Return one job with its latest run."""
        service = await self._connection.service()
        return cast("Job", await service.workloads.get(self._connection.caller, "job", job_id))

    async def list(
        self, *, limit: int | None = 25, **options: Unpack[ListOptions]
    ) -> tuple[Job, ...]:
        """Return the newest jobs, each with its latest run; `limit` None returns all."""
        service = await self._connection.service()
        query = WorkloadQuery(kind="job", **options)
        found = await collect(service.workloads.list, self._connection.caller, query, limit)
        return cast("tuple[Job, ...]", found)

    async def update(
        self,
        job_id: str,
        *,
        name: str | None = None,
        notebook: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Change what is given, for runs to come, and pin the inputs anew if it is not the name."""
        service = await self._connection.service()
        changes: dict[str, Any] = {**options, **({"notebook": notebook} if notebook else {})}
        spec: JobSpec | None = None
        if changes:
            old = (await self.get(job_id)).spec.model_dump()
            spec = validated(JobSpec, old | self._connection.with_paths(changes))
        patch = valid(WorkloadPatch[Spec], name=name, spec=spec)
        changed = await service.workloads.update(self._connection.caller, "job", job_id, patch)
        return cast("Job", changed)

    async def delete(self, job_id: str) -> None:
        """Delete a job with its schedules, runs and their files."""
        service = await self._connection.service()
        await service.workloads.delete(self._connection.caller, "job", job_id)

    async def graph(self, job_id: str) -> Graph:
        """Return the pipeline that the job is part of."""
        service = await self._connection.service()
        return await service.workloads.graph(self._connection.caller, "job", job_id)


class AsyncSchedules:
    """Times at which jobs run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, job_id: str, cron: str, **options: Unpack[ScheduleOptions]) -> Schedule:
        """Have a job run at times; `cron` has five fields, as in Debian's cron."""
        service = await self._connection.service()
        draft = valid(ScheduleDraft, workload_id=job_id, cron=cron, **options)
        return await service.schedules.create(self._connection.caller, draft)

    async def get(self, schedule_id: str) -> Schedule:
        """Return one schedule."""
        service = await self._connection.service()
        return await service.schedules.get(self._connection.caller, schedule_id)

    async def list(
        self, *, limit: int | None = 25, **options: Unpack[ScheduleFilter]
    ) -> tuple[Schedule, ...]:
        """Return the newest schedules; `limit` None returns all."""
        service = await self._connection.service()
        query = ScheduleQuery(**options)
        return await collect(service.schedules.list, self._connection.caller, query, limit)

    async def update(self, schedule_id: str, **changes: Unpack[ScheduleChanges]) -> Schedule:
        """Change a schedule; ``paused=True`` pauses it."""
        service = await self._connection.service()
        patch = validated(SchedulePatch, changes)
        return await service.schedules.update(self._connection.caller, schedule_id, patch)

    async def delete(self, schedule_id: str) -> None:
        """Delete a schedule; its runs stay."""
        service = await self._connection.service()
        await service.schedules.delete(self._connection.caller, schedule_id)

    async def preview(self, cron: str, *, time_zone: str = "UTC", count: int = 10) -> Ticks:
        """Return the next times of a cron line, and the line in words."""
        service = await self._connection.service()
        return await service.schedules.preview(self._connection.caller, cron, time_zone, count)
