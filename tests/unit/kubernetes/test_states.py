"""What pods' states mean, in words."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from himalia.backends.kubernetes import denials, states, waits
from himalia.backends.kubernetes.api import NotThere, Refusal
from himalia.backends.kubernetes.denials import denied, passing
from himalia.backends.kubernetes.states import is_over, why_ending, why_gone, why_waiting
from tests.unit.kubernetes.statuses import (
    RECORDED,
    disrupted,
    ended,
    events,
    made_up,
    recorded,
)

DOCUMENTED = Path(__file__).parents[3] / "docs/how-to/kubernetes.md"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("unschedulable", "unschedulable", "cpu is what lacks"),
        ("cordoned", "unschedulable", "were unschedulable"),
        ("no_claim", "volume_missing", '"home" not found'),
        ("image_pull_fails", "image_missing", "nothing/of-this-name:1"),
        ("image_pull_waits", "image_missing", "Back-off pulling image"),
        ("bad_image", "image_missing", "couldn't parse image name"),
        ("no_secret", "container_refused", 'secret "none" not found'),
    ],
)
def test_a_pod_that_does_not_come_up_says_why(name: str, code: str, says: str) -> None:
    state = recorded(name)
    reason = why_waiting(state)
    assert reason is not None
    assert reason.code == code
    assert says in reason.message
    assert reason.next_step
    # Events that are known too do not hide it.
    assert why_waiting(state, events(name)) == reason
    assert not is_over(state, NOW)


@pytest.mark.parametrize(
    "state", [recorded("no_volume"), made_up({}), made_up({"phase": "Pending"})]
)
def test_a_pod_that_is_about_to_come_up_has_nothing_to_say(state: Any) -> None:
    assert why_waiting(state) is None


def test_what_the_pod_does_not_know_its_last_warning_tells() -> None:
    reason = why_waiting(recorded("no_volume"), events("no_volume"))
    assert reason is not None
    assert reason.code == "volume_missing"
    assert 'configmap "none" not found' in reason.message
    assert why_waiting(recorded("running"), events("no_volume")) is None

    def event(reason: str, at: str, kind: str = "Warning") -> dict[str, Any]:
        return {"reason": reason, "lastTimestamp": at, "type": kind, "message": f"m {at}\n"}

    told = [
        event("FailedMount", "2026-11-21T12:00:01Z"),
        event("FailedCreatePodSandBox", "2026-11-21T12:00:02Z"),
        event("Pulling", "2026-11-21T12:00:03Z", "Normal"),
        event("BackOff", "2026-11-21T12:00:04Z"),
    ]
    reason = why_waiting(made_up({"phase": "Pending"}), told)
    assert reason is not None
    assert reason.code == "container_refused"
    assert reason.message.endswith("m 2026-11-21T12:00:02Z")


@pytest.mark.parametrize(
    ("state", "code", "says", "is_final"),
    [
        (None, "pod_gone", "Its pod is gone.", False),
        (recorded("terminating"), "pod_gone", "was deleted", False),
        (recorded("deleted"), "attempts_lost", "exit code 137", False),
        (recorded("completed"), "attempts_lost", "exit code 0", False),
        (recorded("failed"), "attempts_lost", "exit code 1", False),
        (recorded("failed"), "attempts_lost", "last words: one", False),
        (recorded("too_much_disk"), "evicted", 'volume "tmp" exceeds the limit', False),
        (recorded("drained"), "evicted", "being emptied", False),
        (recorded("preempted"), "preempted", "more important", False),
        (recorded("machine_out_of_touch"), "node_gone", "not to be used now", False),
        (recorded("machine_gone"), "node_gone", "not to be used now", False),
        (recorded("too_late"), "timed_out", "timeout", True),
        (recorded("out_of_memory"), "out_of_memory", "more memory than it may", True),
        (recorded("no_program"), "container_refused", 'exec: "/none"', True),
        (made_up({"phase": "Failed"}), "pod_gone", "nobody knows why", False),
        (ended("NodeLost", "unresponsive"), "node_gone", "unresponsive", False),
        (ended("Terminated", "shut down"), "node_gone", "shut down", False),
        (disrupted("DeletionByPodGC"), "node_gone", "is gone", False),
        (disrupted("SomethingNew"), "evicted", "The cluster ended its pod", False),
    ],
)
def test_a_pod_that_ended_says_why(state: Any, code: str, says: str, is_final: bool) -> None:
    verdict = why_gone(state)
    assert verdict.reason.code == code
    assert says in verdict.reason.message
    assert verdict.is_final is is_final
    assert verdict.reason.next_step


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("draining", "evicted"),
        ("preempted", "preempted"),
        ("machine_out_of_touch", "node_gone"),
        ("terminating", None),
        ("running", None),
    ],
)
def test_a_pod_that_the_cluster_wants_to_go_says_why_while_it_runs(
    name: str, code: str | None
) -> None:
    reason = why_ending(recorded(name))
    assert (reason.code if reason is not None else None) == code
    assert reason is None or "again by itself" in (reason.next_step or "")


OVER = {
    *("completed", "failed", "deleted", "drained", "machine_gone", "no_program", "out_of_memory"),
    *("too_late", "too_much_disk"),
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_what_has_ended_is_over_and_nothing_else(name: str) -> None:
    state = recorded(name)
    # By a clock of then: the node of one that was told to end has its time.
    at = datetime.fromisoformat(state["metadata"].get("deletionTimestamp") or NOW.isoformat())
    assert is_over(state, at) == (name in OVER)


def test_who_was_told_to_end_is_over_when_its_node_never_confirms() -> None:
    state = recorded("machine_out_of_touch")
    told = datetime.fromisoformat(state["metadata"]["deletionTimestamp"])
    assert is_over(state, told + timedelta(seconds=91))
    assert not is_over(state, told + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotThere(404, "NotFound", 'namespaces "x" not found'), "not there"),
        (Refusal(403, "Forbidden", "namespace x because it is being terminated"), "deleted"),
        (Refusal(403, "Forbidden", "error looking up service account x/d: not found"), "not ready"),
        (
            Refusal(
                403, "Forbidden", 'pods "p" is forbidden: exceeded quota: q, requested: pods=1'
            ),
            "(q, requested: pods=1)",
        ),
        (Refusal(409, "Conflict", "try again"), "try again"),
        (
            Refusal(
                403,
                "Forbidden",
                'pods is forbidden: User "u" cannot create resource "pods" in API group ""',
            ),
            "may not run",
        ),
    ],
)
def test_what_passes_is_waited_for(error: Refusal, says: str) -> None:
    assert says in (passing(error) or "")


def test_what_does_not_pass_is_said() -> None:
    much = Refusal(403, "Forbidden", "is forbidden: maximum memory usage per Container is 1Gi")
    unsafe = Refusal(403, "Forbidden", 'violates PodSecurity "restricted:latest"')
    assert passing(much) is None
    assert passing(unsafe) is None
    assert denied(much).code == "too_much_asked"
    assert denied(unsafe).code == "pod_refused"


def test_each_status_is_documented() -> None:
    told = {code for code, _ in states._DISRUPTIONS.values()}
    for module in (states, denials, waits):
        told |= set(re.findall(r'(?:code=|_lost\()"(\w+)"', inspect.getsource(module)))
    assert "image_missing" in told
    text = DOCUMENTED.read_text()
    assert {code for code in told if f"`{code}`" not in text} == set()
