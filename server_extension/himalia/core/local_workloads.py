"""The local service's workloads: checked, pinned and stored before they are acknowledged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from typing_extensions import override

from himalia.core.admission import admit
from himalia.core.flows import new_run
from himalia.core.local_parts import Parts, fields_under, key_of, shown, with_secrets
from himalia.core.model import (
    Graph,
    GraphEdge,
    GraphNode,
    Page,
    Run,
    Snapshot,
    Status,
    Trigger,
    Workload,
    WorkloadDraft,
    WorkloadPatch,
)
from himalia.core.names import new_id
from himalia.core.profiles import fitted
from himalia.core.service import Caller, WorkloadQuery, Workloads
from himalia.core.spec import Spec


class LocalWorkloads(Workloads):
    """Definitions, over a store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @override
    async def create(
        self,
        caller: Caller,
        kind: str,
        draft: WorkloadDraft[Spec],
        *,
        idempotency_key: str | None = None,
    ) -> Workload[Spec]:
        key = key_of(caller, idempotency_key, "create", kind, body=draft)
        made = await self._parts.made_under(key)
        if made is not None:
            return await self.get(caller, kind, made)
        spec = await self._fitted(caller.owner, draft.spec)
        if draft.run:
            await admit(self._parts.store.team, caller.owner, spec)
        snapshot = await self._pin(caller.owner, kind, spec, caller.root)
        now = datetime.now(UTC)
        workload = Workload[Spec](
            id=new_id(kind[:3]),
            kind=kind,
            owner=caller.owner,
            name=draft.name or self._parts.kinds.of(kind).title(spec),
            spec=spec,
            root=str(caller.root),
            snapshot=snapshot,
            created_at=now,
            updated_at=now,
        )
        runs = (await self._first_run(workload),) if draft.run else ()
        async with self._parts.room(len(runs)):
            stored = await self._parts.store.workloads.insert(workload, runs, key=key)
        if runs:
            self._parts.reconciler.wake()
        return shown(stored)

    @override
    async def get(self, caller: Caller, kind: str, workload_id: str) -> Workload[Spec]:
        return shown(await self._parts.store.workloads.get(caller.owner, kind, workload_id))

    @override
    async def list(self, caller: Caller, query: WorkloadQuery) -> Page[Workload[Spec]]:
        page = await self._parts.store.workloads.list(caller.owner, query)
        return page.model_copy(update={"items": tuple(shown(item) for item in page.items)})

    @override
    async def update(
        self, caller: Caller, kind: str, workload_id: str, patch: WorkloadPatch[Spec]
    ) -> Workload[Spec]:
        stored = await self._parts.store.workloads.get(caller.owner, kind, workload_id)
        changes: dict[str, object] = {"updated_at": datetime.now(UTC)}
        if patch.name is not None:
            changes["name"] = patch.name
        if patch.spec is not None:
            # Its paths are relative to where the workload was made, whoever changes it.
            spec = await self._fitted(stored.owner, patch.spec)
            changes["snapshot"] = await self._pin(stored.owner, kind, spec, Path(stored.root))
            changes["spec"] = with_secrets(spec, stored.spec)
        await self._parts.store.workloads.replace(stored.model_copy(update=changes))
        return await self.get(caller, kind, workload_id)

    @override
    async def delete(self, caller: Caller, kind: str, workload_id: str) -> None:
        runs = await self._parts.store.workloads.delete(caller.owner, kind, workload_id)
        # The rows are gone: what a crash leaves from here on, the keeper collects.
        await self._parts.keeper.remove_files(runs)
        self._parts.ticker.loop.wake()

    @override
    async def graph(self, caller: Caller, kind: str, workload_id: str) -> Graph:
        store = self._parts.store.workloads
        await store.get(caller.owner, kind, workload_id)
        edges = await store.edges(caller.owner)
        members = _connected(workload_id, edges)
        nodes = tuple(_node(found) for found in await store.find(caller.owner, sorted(members)))
        return Graph(
            nodes=nodes,
            edges=tuple(edge for edge in edges if edge.upstream in members),
        )

    async def _pin(self, owner: str, kind: str, spec: Spec, root: Path) -> Snapshot | None:
        with fields_under("spec"):
            return await self._parts.premises.pin(owner, kind, spec, root)

    async def _fitted(self, owner: str, spec: Spec) -> Spec:
        with fields_under("spec"):
            profile = await self._parts.profile(owner, spec.profile)
            return spec if profile is None else fitted(spec, profile)

    async def _first_run(self, workload: Workload[Spec]) -> Run:
        """Make the first run; that of a workload with upstreams waits for those that run now."""
        run = new_run(workload, trigger=Trigger.USER)
        if not workload.spec.after:
            return run
        upstreams = await self._parts.store.workloads.find(
            workload.owner, [dependency.workload_id for dependency in workload.spec.after]
        )
        flows = [
            found.last_run.flow_id
            for found in upstreams
            if found.last_run is not None and not found.last_run.status.is_terminal
        ]
        flow_id = flows[0] if flows else run.flow_id
        return run.model_copy(update={"status": Status.WAITING, "flow_id": flow_id})


def _connected(workload_id: str, edges: tuple[GraphEdge, ...]) -> frozenset[str]:
    neighbours: dict[str, set[str]] = {}
    for edge in edges:
        neighbours.setdefault(edge.upstream, set()).add(edge.downstream)
        neighbours.setdefault(edge.downstream, set()).add(edge.upstream)
    found = {workload_id}
    pending = [workload_id]
    while pending:
        new = neighbours.get(pending.pop(), set()) - found
        found |= new
        pending += new
    return frozenset(found)


def _node(workload: Workload[Spec]) -> GraphNode:
    run = workload.last_run
    return GraphNode(
        workload_id=workload.id,
        name=workload.name,
        status=run.status if run is not None else None,
        run_id=run.id if run is not None else None,
    )
