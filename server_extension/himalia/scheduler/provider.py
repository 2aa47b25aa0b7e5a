"""jupyter-scheduler's scheduler, over our client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_scheduler.environments import EnvironmentManager
from jupyter_scheduler.exceptions import IdempotencyTokenError, SchedulerError
from jupyter_scheduler.models import (
    CountJobsQuery,
    CreateJob,
    CreateJobDefinition,
    CreateJobFromDefinition,
    DescribeJob,
    DescribeJobDefinition,
    ListJobDefinitionsQuery,
    ListJobDefinitionsResponse,
    ListJobsQuery,
    ListJobsResponse,
    UpdateJob,
    UpdateJobDefinition,
)
from jupyter_scheduler.scheduler import BaseScheduler
from typing_extensions import override

from himalia.client import AsyncClient
from himalia.client.jobs import Job
from himalia.core.errors import Conflict, HimaliaError, NotFound
from himalia.core.model import Overlap, Run, Schedule
from himalia.core.places import Places
from himalia.scheduler import parameters, translation
from himalia.scheduler.environments import HimaliaEnvironments
from himalia.scheduler.lists import Part, page, page_of_runs

_AT_ONCE = 8
_STOP_SECONDS = 30.0


class RefusedError(IdempotencyTokenError):  # type: ignore[misc]
    """What the user sent cannot be done: the one error that upstream's route answers as 4xx."""

    def __init__(self, error: HimaliaError) -> None:
        super().__init__("")
        self._text = error.message

    def __str__(self) -> str:
        return self._text


class HimaliaScheduler(BaseScheduler):  # type: ignore[misc]
    """Runs upstream's jobs in our service; nothing is kept in upstream's own database."""

    task_runner = None

    def __init__(
        self,
        root_dir: str,
        environments_manager: EnvironmentManager,
        db_url: str | None = None,  # noqa: ARG002 - upstream gives it; our service has the store
        config: Any = None,
        **rest: Any,
    ) -> None:
        super().__init__(
            root_dir=root_dir, environments_manager=environments_manager, config=config, **rest
        )
        self.root_dir = str(Path(root_dir).expanduser().absolute())
        home = str(self.config.HimaliaExtension.get("home", ""))
        places = Places(home=Path(home).expanduser().resolve()) if home else None
        self.client = AsyncClient(root=Path(self.root_dir).resolve(), places=places)
        if isinstance(environments_manager, HimaliaEnvironments):
            environments_manager.client = self.client

    @override
    async def create_job(self, model: CreateJob) -> str:
        if model.job_definition_id:
            draft = CreateJobFromDefinition(parameters=model.parameters)
            return await self.create_job_from_definition(model.job_definition_id, draft)
        try:
            made = await self._create(model, definition=False, key=model.idempotency_token)
        except HimaliaError as error:
            if isinstance(error, Conflict) and model.idempotency_token:
                raise IdempotencyTokenError(model.idempotency_token) from error
            raise _translated(error, refusable=True) from error
        assert made.last_run is not None, "a job that was asked to run has a run"
        return made.last_run.id

    async def _create(
        self, model: CreateJob | CreateJobDefinition, *, definition: bool, key: str | None = None
    ) -> Job:
        names = frozenset(one.name for one in await self.client.environments())
        options = translation.options(model, names, definition=definition)
        return await self.client.jobs.create(
            model.input_uri, name=model.name, run=not definition, idempotency_key=key, **options
        )

    @override
    async def update_job(self, job_id: str, model: UpdateJob) -> None:
        async with _translating():
            run = await self.client.runs.get(job_id)
            if model.name:
                await self.client.jobs.update(run.workload_id, name=model.name)

    @override
    async def get_job(self, job_id: str, job_files: bool | None = True) -> DescribeJob:
        async with _translating():
            return (await self._described([await self.client.runs.get(job_id)], job_files))[0]

    @override
    async def list_jobs(self, query: ListJobsQuery) -> ListJobsResponse:
        async with _translating():
            part: Part[Run] = await page_of_runs(self.client, query)
            jobs = await self._described(part.items)
        return ListJobsResponse(jobs=jobs, next_token=part.next_token, total_count=part.total)

    async def _described(
        self, runs: Iterable[Run], job_files: bool | None = True
    ) -> list[DescribeJob]:
        runs = tuple(runs)
        gate = asyncio.Semaphore(_AT_ONCE)
        jobs: dict[str, Job] = {}

        async def look_up(job_id: str) -> None:
            async with gate:
                try:
                    jobs[job_id] = await self.client.jobs.get(job_id)
                except NotFound:
                    return  # deleted just now, with its runs

        async def describe(run: Run) -> DescribeJob:
            job = jobs[run.workload_id]
            is_part = translation.is_definition(job) or run.schedule_id is not None
            model = translation.describe_run(run, job, definition_id=job.id if is_part else None)
            if model.package_input_folder:
                async with gate:
                    left = await self.client.runs.outputs(run.id)
                model.packaged_files = [one.name for one in left if one.role == "file"]
            if job_files:
                await asyncio.to_thread(self.add_job_files, model)
            return model

        await asyncio.gather(*(look_up(one) for one in {run.workload_id for run in runs}))
        return await asyncio.gather(*(describe(run) for run in runs if run.workload_id in jobs))

    @override
    async def count_jobs(self, query: CountJobsQuery) -> int:
        statuses = translation.ours(query.status)
        if not statuses:
            return 0
        async with _translating():
            return len(await self.client.runs.list(limit=None, statuses=statuses))

    @override
    async def stop_job(self, job_id: str) -> None:
        async with _translating():
            await self.client.runs.stop(job_id)

    @override
    async def delete_job(self, job_id: str) -> None:
        async with _translating(absent_is_fine=True):
            run = await self.client.runs.get(job_id)
            await self._end(run)
            job = await self.client.jobs.get(run.workload_id)
            await self.client.runs.delete(job_id)
            others = await self.client.runs.list(limit=1, workload_id=job.id)
            scheduled = await self.client.schedules.list(limit=1, workload_id=job.id)
            if not others and not scheduled and not translation.is_definition(job):
                await self.client.jobs.delete(job.id)

    async def _end(self, run: Run) -> None:
        """Stop a run, and wait until it has: what runs cannot be deleted."""
        if run.status.is_terminal:
            return
        await self.client.runs.stop(run.id)
        try:
            await self.client.runs.wait(run.id, timeout_seconds=_STOP_SECONDS)
        except TimeoutError as error:
            raise SchedulerError("The job is stopping; delete it when it has stopped.") from error

    @override
    async def create_job_definition(self, model: CreateJobDefinition) -> str:
        zone = model.timezone or "UTC"
        async with _translating():
            if model.schedule:
                await self.client.schedules.preview(model.schedule, time_zone=zone, count=1)
            made = await self._create(model, definition=True)
            if model.schedule:
                # Upstream starts a job at every tick, whatever became of those before.
                await self.client.schedules.create(
                    made.id, model.schedule, time_zone=zone, overlap=Overlap.QUEUE
                )
        return made.id

    async def _schedule(self, job_id: str) -> Schedule | None:
        found = await self.client.schedules.list(limit=1, workload_id=job_id)
        return found[0] if found else None

    @override
    async def update_job_definition(
        self, job_definition_id: str, model: UpdateJobDefinition
    ) -> None:
        async with _translating():
            changes: dict[str, Any] = {}
            if model.name:
                changes["name"] = model.name
            if model.input_uri:
                changes["notebook"] = model.input_uri
            if model.parameters is not None:
                changes["parameters"] = parameters.read(model.parameters)
            if model.output_formats is not None:
                changes["formats"] = tuple(one for one in model.output_formats if one != "ipynb")
            if model.tags is not None:
                changes["tags"] = (*model.tags, translation.DEFINITION_TAG)
            if changes:
                await self.client.jobs.update(job_definition_id, **changes)
            await self._update_schedule(job_definition_id, model)

    async def _update_schedule(self, job_id: str, model: UpdateJobDefinition) -> None:
        changes: dict[str, Any] = {}
        if model.schedule is not None:
            changes["cron"] = model.schedule
        if model.timezone is not None:
            changes["time_zone"] = model.timezone
        if model.active is not None:
            changes["paused"] = not model.active
        schedule = await self._schedule(job_id)
        if schedule is not None and changes:
            await self.client.schedules.update(schedule.id, **changes)
        elif "cron" in changes:
            await self.client.schedules.create(
                job_id, changes.pop("cron"), overlap=Overlap.QUEUE, **changes
            )

    @override
    async def delete_job_definition(self, job_definition_id: str) -> None:
        async with _translating(absent_is_fine=True):
            runs = await self.client.runs.list(limit=None, workload_id=job_definition_id)
            await asyncio.gather(*(self._end(run) for run in runs if not run.status.is_terminal))
            await self.client.jobs.delete(job_definition_id)

    @override
    async def get_job_definition(self, job_definition_id: str) -> DescribeJobDefinition:
        async with _translating():
            job = await self.client.jobs.get(job_definition_id)
            return translation.describe_definition(job, await self._schedule(job.id))

    @override
    async def list_job_definitions(
        self, query: ListJobDefinitionsQuery
    ) -> ListJobDefinitionsResponse:
        async with _translating():
            schedules = {
                one.workload_id: one
                for one in reversed(await self.client.schedules.list(limit=None))
            }
            tagged = await self.client.jobs.list(limit=None, tag=translation.DEFINITION_TAG)
            jobs = {job.id: job for job in tagged}
            for job_id in schedules.keys() - jobs.keys():
                jobs[job_id] = await self.client.jobs.get(job_id)
        described = [
            translation.describe_definition(job, schedules.get(job.id)) for job in jobs.values()
        ]
        part = page(described, query)
        return ListJobDefinitionsResponse(
            job_definitions=part.items, next_token=part.next_token, total_count=part.total
        )

    @override
    async def create_job_from_definition(
        self, job_definition_id: str, model: CreateJobFromDefinition
    ) -> str:
        async with _translating():
            values = parameters.read(model.parameters)
            run = await self.client.runs.start(job_definition_id, parameters=values)
        return run.id

    @override
    def get_staging_paths(self, model: DescribeJob | DescribeJobDefinition) -> dict[str, str]:
        # Nothing is staged: files are the service's until they are downloaded.
        return {}


def _translated(error: HimaliaError, *, refusable: bool = False) -> Exception:
    refused = refusable and error.http_status < 500
    made: Exception = RefusedError(error) if refused else SchedulerError(error.message)
    return made


@asynccontextmanager
async def _translating(*, absent_is_fine: bool = False) -> AsyncIterator[None]:
    """Turn our errors into upstream's, whose routes show their text."""
    try:
        yield
    except NotFound as error:
        if not absent_is_fine:
            raise _translated(error) from error
    except HimaliaError as error:
        raise _translated(error) from error
