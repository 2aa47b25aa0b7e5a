"""Flows: the runs of one passage through a pipeline, and which of those that wait may go.

A run of a workload brings a waiting run of everything that depends on it, however remotely. Each
waits until its upstream runs in the flow have ended; an upstream outside the flow counts by its
latest ended run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from himalia.core.model import GraphEdge, Reason, Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Condition, Parameters, Spec
from himalia.store.base import Store

_MET = {
    Condition.SUCCESS: frozenset({Status.SUCCEEDED}),
    Condition.FAILURE: frozenset({Status.FAILED}),
    # Being skipped is an end too: what tidies up after a pipeline runs either way.
    Condition.END: frozenset({Status.SUCCEEDED, Status.FAILED, Status.STOPPED, Status.SKIPPED}),
}
_WANTED = {
    Condition.SUCCESS: "its success",
    Condition.FAILURE: "its failure",
    Condition.END: "its end",
}
_HOW = {
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.STOPPED: "was stopped",
    Status.SKIPPED: "was skipped",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a waiting run: queued or skipped."""

    run_id: str
    status: Status
    reason: Reason | None


def new_run(
    workload: Workload[Spec], *, trigger: Trigger, parameters: Parameters | None = None
) -> Run:
    """Make a queued run of `workload` from its snapshot, in a flow of its own.

    `parameters` take precedence over the workload's, name by name.
    """
    run_id = new_id("run")
    # Only kinds that take parameters have the field.
    own: Parameters = getattr(workload.spec, "parameters", {})
    return Run(
        id=run_id,
        workload_id=workload.id,
        workload_name=workload.name,
        kind=workload.kind,
        owner=workload.owner,
        trigger=trigger,
        status=Status.QUEUED,
        parameters={**own, **(parameters or {})},
        tags=workload.spec.tags,
        snapshot_digest=workload.snapshot.digest if workload.snapshot else None,
        flow_id=run_id,
        created_at=datetime.now(UTC),
    )


async def begin(store: Store, workload: Workload[Spec], first: Run) -> tuple[Run, ...]:
    """Return `first`, a run of `workload`, and a waiting run for each transitive dependent."""
    edges = await store.workloads.edges(workload.owner)
    downstream = _downstream(workload.id, edges)
    if not downstream:
        return (first,)
    dependents = await store.workloads.find(workload.owner, downstream)
    waiting = (new_run(dependent, trigger=Trigger.DEPENDENCY) for dependent in dependents)
    update = {"status": Status.WAITING, "flow_id": first.flow_id}
    return (first, *(run.model_copy(update=update) for run in waiting))


def missing(flow: Sequence[Run], edges: Iterable[GraphEdge]) -> frozenset[str]:
    """Return the workloads that waiting runs depend on and that have no run in the flow."""
    present = {run.workload_id for run in flow}
    waiting = {run.workload_id for run in flow if run.status is Status.WAITING}
    return frozenset(
        edge.upstream
        for edge in edges
        if edge.downstream in waiting and edge.upstream not in present
    )


def judge(
    flow: Sequence[Run], edges: Iterable[GraphEdge], latest: Mapping[str, Run | None]
) -> tuple[Verdict, ...]:
    """Decide on the waiting runs of one flow that can be decided now.

    `latest` has the latest ended run of each workload that :func:`missing` names. Settling the
    verdicts may make more runs decidable: judge again until none is.
    """
    present = {run.workload_id: run for run in sorted(flow, key=lambda run: run.id)}
    by_downstream: dict[str, list[GraphEdge]] = {}
    for edge in edges:
        by_downstream.setdefault(edge.downstream, []).append(edge)
    verdicts = []
    for run in flow:
        if run.status is not Status.WAITING:
            continue
        upstream = [
            (edge, present.get(edge.upstream) or latest.get(edge.upstream))
            for edge in by_downstream.get(run.workload_id, ())
        ]
        if any(found is not None and not found.status.is_terminal for _, found in upstream):
            continue
        reason = next(filter(None, (_unmet(edge, found) for edge, found in upstream)), None)
        status = Status.SKIPPED if reason else Status.QUEUED
        verdicts.append(Verdict(run_id=run.id, status=status, reason=reason))
    return tuple(verdicts)


def closes_cycle(workload_id: str, after: Iterable[str], edges: Iterable[GraphEdge]) -> bool:
    """Tell whether `workload_id` running after each of `after` would make a cycle."""
    downstream = {workload_id, *_downstream(workload_id, edges)}
    return any(upstream in downstream for upstream in after)


def _unmet(edge: GraphEdge, upstream: Run | None) -> Reason | None:
    if upstream is not None and upstream.status in _MET[edge.on]:
        return None
    if upstream is None:
        text = "A workload that this one depends on has never run to its end."
        step = "Run that workload; this one follows by itself."
    else:
        name, how = upstream.workload_name, _HOW[upstream.status]
        text = f"“{name}” {how}, and this runs only after {_WANTED[edge.on]}."
        step = f"Run “{name}” again; this follows by itself."
    return Reason(code="upstream_not_met", message=text, next_step=step)


def _downstream(workload_id: str, edges: Iterable[GraphEdge]) -> tuple[str, ...]:
    """Return all that depends on `workload_id`, nearest first."""
    following: dict[str, list[str]] = {}
    for edge in edges:
        following.setdefault(edge.upstream, []).append(edge.downstream)
    found: dict[str, None] = {}
    pending = list(following.get(workload_id, ()))
    while pending:
        workload = pending.pop(0)
        if workload not in found and workload != workload_id:
            found[workload] = None
            pending += following.get(workload, ())
    return tuple(found)
