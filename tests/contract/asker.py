"""Somebody who asks a service, and the words of the tests of its contract."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from himalia.core.errors import InvalidInput
from himalia.core.model import (
    Run,
    RunDraft,
    RunEvent,
    Schedule,
    ScheduleDraft,
    Status,
    Workload,
    WorkloadDraft,
)
from himalia.core.names import new_id
from himalia.core.service import Caller, WorkloadService
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from tests.servers.patience import PATIENCE_SECONDS


@dataclass(kw_only=True)
class Asker:
    """A caller with a folder of notebooks, and the words of these tests."""

    service: WorkloadService
    caller: Caller
    tag: str = field(default_factory=lambda: new_id("tag"))

    def notebook(self, name: str, *sources: str, parameters: str | None = None) -> str:
        """Write a notebook of code cells, the one with the parameters first."""
        cells = [{"source": source, "metadata": {}} for source in sources]
        if parameters is not None:
            cells.insert(0, {"source": parameters, "metadata": {"tags": ["parameters"]}})
        for index, cell in enumerate(cells):
            empty = {"cell_type": "code", "outputs": [], "execution_count": None}
            cell.update({**empty, "id": f"cell-{index}"})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": cells,
        }
        (self.caller.root / name).write_text(json.dumps(document))
        return name

    def draft(self, notebook: str, *, run: bool = True, **spec: Any) -> WorkloadDraft[Spec]:
        """Make a draft of a job with this test's tag."""
        job = JobSpec(notebook=notebook, tags=(self.tag,), **spec)
        return WorkloadDraft[Spec](spec=job, run=run)

    async def create(self, notebook: str, *, run: bool = True, **spec: Any) -> Workload[Spec]:
        """Create a job."""
        draft = self.draft(notebook, run=run, **spec)
        return await self.service.workloads.create(self.caller, "job", draft)

    async def idle(self, **spec: Any) -> Workload[Spec]:
        """Create a job of one quick cell that does not run yet."""
        return await self.create(self.notebook("idle.ipynb", "1"), run=False, **spec)

    async def start(self, workload: Workload[Spec], **parameters: Any) -> Run:
        """Run a job."""
        draft = RunDraft(parameters=parameters)
        return await self.service.runs.start(self.caller, "job", workload.id, draft)

    async def until(self, run_id: str, *statuses: Status) -> Run:
        """Wait until the run has one of the statuses; it may not end otherwise."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                run = await self.service.runs.get(self.caller, run_id)
                if run.status in statuses:
                    return run
                assert not run.status.is_terminal, run
                await asyncio.sleep(0.05)

    async def ended(self, run: Run | None) -> Run:
        """Wait for the end of a run, whatever it is."""
        assert run is not None
        return await self.until(run.id, *(status for status in Status if status.is_terminal))

    async def events(self, run_id: str, after: str | None = None) -> list[RunEvent]:
        """Return all events of a run that ends, or those after an event."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            stream = self.service.runs.events(self.caller, run_id, after=after)
            return [event async for event in stream]

    async def text(self, run: Run, name: str) -> str:
        """Return what one output of a run holds."""
        opened = await self.service.runs.open_output(self.caller, run.id, name)
        return b"".join([chunk async for chunk in opened.chunks]).decode()

    async def schedule(self, workload: Workload[Spec], **draft: Any) -> Schedule:
        """Make a schedule that does not tick while the tests run, unless told otherwise."""
        draft = {"cron": "0 3 1 1 *", "time_zone": "Europe/Paris", **draft}
        return await self.service.schedules.create(
            self.caller, ScheduleDraft(workload_id=workload.id, **draft)
        )

    @staticmethod
    def fields(caught: pytest.ExceptionInfo[InvalidInput]) -> set[str]:
        """Return the fields that were refused."""
        return {problem.field for problem in caught.value.problems}
