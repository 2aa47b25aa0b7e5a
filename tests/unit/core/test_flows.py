"""Flows: which waiting runs of a pipeline may go, and which are skipped."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from himalia.core.flows import closes_cycle, judge, missing
from himalia.core.model import GraphEdge, Run, Status, Trigger
from himalia.core.names import new_id
from himalia.core.spec import Condition

FLOW = new_id("run")


def _run(workload: str, status: Status) -> Run:
    return Run(
        id=new_id("run"),
        workload_id=workload,
        workload_name=workload[-3:],
        kind="job",
        owner="alice",
        trigger=Trigger.DEPENDENCY,
        status=status,
        flow_id=FLOW,
        created_at=datetime.now(UTC),
    )


def _edge(upstream: str, downstream: str, on: Condition = Condition.SUCCESS) -> GraphEdge:
    return GraphEdge(upstream=upstream, downstream=downstream, on=on)


A, B, C, D = (new_id("job") for _ in range(4))

_TRUTH = {
    (Condition.SUCCESS, Status.SUCCEEDED): Status.QUEUED,
    (Condition.SUCCESS, Status.FAILED): Status.SKIPPED,
    (Condition.SUCCESS, Status.STOPPED): Status.SKIPPED,
    (Condition.SUCCESS, Status.SKIPPED): Status.SKIPPED,
    (Condition.FAILURE, Status.SUCCEEDED): Status.SKIPPED,
    (Condition.FAILURE, Status.FAILED): Status.QUEUED,
    (Condition.FAILURE, Status.STOPPED): Status.SKIPPED,
    (Condition.FAILURE, Status.SKIPPED): Status.SKIPPED,
    (Condition.END, Status.SUCCEEDED): Status.QUEUED,
    (Condition.END, Status.FAILED): Status.QUEUED,
    (Condition.END, Status.STOPPED): Status.QUEUED,
    (Condition.END, Status.SKIPPED): Status.QUEUED,
}


@pytest.mark.parametrize(("case", "verdict"), _TRUTH.items())
def test_an_ended_upstream_lets_a_run_go_or_skips_it(case, verdict):
    on, status = case
    flow = [_run(A, status), waiting := _run(B, Status.WAITING)]
    (found,) = judge(flow, [_edge(A, B, on)], {})
    assert (found.run_id, found.status) == (waiting.id, verdict)
    assert (found.reason is not None) == (verdict is Status.SKIPPED)


@pytest.mark.parametrize("status", [status for status in Status if not status.is_terminal])
@pytest.mark.parametrize("on", list(Condition))
def test_a_run_waits_while_an_upstream_has_not_ended(on, status):
    flow = [_run(A, status), _run(C, Status.FAILED), _run(B, Status.WAITING)]
    verdicts = judge(flow, [_edge(A, B, on), _edge(C, B)], {})
    assert B not in {run.workload_id for run in flow if run.id in {v.run_id for v in verdicts}}


def test_every_upstream_must_have_ended_as_asked():
    flow = [_run(A, Status.SUCCEEDED), _run(B, Status.FAILED), _run(C, Status.WAITING)]
    edges = [_edge(A, C), _edge(B, C)]
    (verdict,) = judge(flow, edges, {})
    assert verdict.status is Status.SKIPPED
    assert verdict.reason is not None
    assert verdict.reason.code == "upstream_not_met"
    assert verdict.reason.next_step


def test_an_upstream_outside_the_flow_counts_by_its_latest_ended_run():
    flow = [_run(A, Status.SUCCEEDED), _run(C, Status.WAITING)]
    edges = [_edge(A, C), _edge(B, C)]
    assert missing(flow, edges) == {B}
    (verdict,) = judge(flow, edges, {B: _run(B, Status.SUCCEEDED)})
    assert verdict.status is Status.QUEUED


def test_an_upstream_that_never_ran_skips_what_needs_it():
    (verdict,) = judge([_run(B, Status.WAITING)], [_edge(A, B)], {A: None})
    assert verdict.status is Status.SKIPPED


def test_only_the_upstreams_of_waiting_runs_are_missing():
    assert missing([_run(C, Status.SUCCEEDED)], [_edge(B, C)]) == frozenset()


def test_a_run_whose_dependencies_were_taken_away_goes():
    (verdict,) = judge([_run(B, Status.WAITING)], [], {})
    assert verdict.status is Status.QUEUED


@pytest.mark.parametrize(
    ("workload", "after", "is_cycle"), [(A, B, True), (A, C, True), (A, A, True), (D, C, False)]
)
def test_a_cycle_is_seen_however_long(workload, after, is_cycle):
    edges = [_edge(A, B), _edge(B, C)]
    assert closes_cycle(workload, [after], edges) is is_cycle
