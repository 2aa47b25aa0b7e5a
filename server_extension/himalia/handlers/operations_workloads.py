"""Operations on workloads of one kind, and on the runs of one workload."""

from __future__ import annotations

from dataclasses import dataclass

from himalia.core.model import Graph, Page, Run, RunDraft, Workload, WorkloadDraft, WorkloadPatch
from himalia.core.service import RunQuery, WorkloadQuery
from himalia.core.spec import Spec
from himalia.handlers.calls import Call
from himalia.handlers.parameters import NoParameters, WorkloadParameters, WorkloadRunParameters


@dataclass(frozen=True, slots=True)
class WorkloadOperations:
    """What can be done with workloads of the kind named `kind`."""

    kind: str

    async def create(self, call: Call[NoParameters, WorkloadDraft[Spec]]) -> Workload[Spec]:
        """Make a workload."""
        return await call.service.workloads.create(
            call.caller, self.kind, call.body, idempotency_key=call.idempotency_key
        )

    async def get(self, call: Call[NoParameters, NoParameters]) -> Workload[Spec]:
        """Return one."""
        return await call.service.workloads.get(call.caller, self.kind, call.id("workload_id"))

    async def list(self, call: Call[WorkloadParameters, NoParameters]) -> Page[Workload[Spec]]:
        """Return a page."""
        query = WorkloadQuery(kind=self.kind, **call.query.model_dump())
        return await call.service.workloads.list(call.caller, query)

    async def update(self, call: Call[NoParameters, WorkloadPatch[Spec]]) -> Workload[Spec]:
        """Change one."""
        return await call.service.workloads.update(
            call.caller, self.kind, call.id("workload_id"), call.body
        )

    async def delete(self, call: Call[NoParameters, NoParameters]) -> None:
        """Delete one."""
        await call.service.workloads.delete(call.caller, self.kind, call.id("workload_id"))

    async def graph(self, call: Call[NoParameters, NoParameters]) -> Graph:
        """Return the pipeline around one."""
        return await call.service.workloads.graph(call.caller, self.kind, call.id("workload_id"))

    async def start(self, call: Call[NoParameters, RunDraft]) -> Run:
        """Run one again."""
        return await call.service.runs.start(
            call.caller,
            self.kind,
            call.id("workload_id"),
            call.body,
            idempotency_key=call.idempotency_key,
        )

    async def runs(self, call: Call[WorkloadRunParameters, NoParameters]) -> Page[Run]:
        """Return a page of one's runs."""
        workload_id = call.id("workload_id")
        await call.service.workloads.get(call.caller, self.kind, workload_id)
        fields = call.query.model_dump()
        query = RunQuery(
            kind=self.kind, workload_id=workload_id, statuses=fields.pop("status"), **fields
        )
        return await call.service.runs.list(call.caller, query)
