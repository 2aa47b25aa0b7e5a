"""What pods' states mean, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from himalia.backends.kubernetes.api import NotThere, Refusal
from himalia.backends.kubernetes.denials import denied, passing
from himalia.backends.kubernetes.states import is_over, why_gone, why_waiting
from tests.unit.kubernetes.statuses import (
    disrupted,
    ended,
    pod,
    terminated,
    unscheduled,
    waiting,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        (
            unscheduled("0/3 nodes are available: 3 Insufficient cpu, 2 Insufficient memory."),
            "unschedulable",
            "cpu, memory is what lacks",
        ),
        (
            unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: true}."),
            "unschedulable",
            "untolerated taint",
        ),
        (
            unscheduled('0/1 nodes: persistentvolumeclaim "home" not found.'),
            "volume_missing",
            '"home" not found',
        ),
        (waiting("ErrImagePull", "not found"), "image_missing", "session@sha256:00"),
        (waiting("ImagePullBackOff"), "image_missing", "ImagePullBackOff"),
        (waiting("InvalidImageName", "couldn't parse"), "image_missing", "couldn't parse"),
        (waiting("CreateContainerConfigError", "no such key"), "container_refused", "no such key"),
    ],
)
def test_a_pod_that_does_not_come_up_says_why(state: Any, code: str, says: str) -> None:
    reason = why_waiting(state)
    assert reason is not None
    assert reason.code == code
    assert says in reason.message
    assert reason.next_step
    assert not is_over(state, NOW)


@pytest.mark.parametrize(
    "state", [waiting("ContainerCreating"), pod({}), pod({"phase": "Pending"})]
)
def test_a_pod_that_is_about_to_come_up_has_nothing_to_say(state: Any) -> None:
    assert why_waiting(state) is None


def test_what_the_pod_does_not_know_its_last_warning_tells() -> None:
    def event(reason: str, at: str, kind: str = "Warning") -> dict[str, Any]:
        return {"reason": reason, "lastTimestamp": at, "type": kind, "message": f"m {at}\n"}

    events = [
        event("FailedMount", "2026-11-21T12:00:01Z"),
        event("FailedCreatePodSandBox", "2026-11-21T12:00:00Z"),
        event("Pulling", "2026-11-21T12:00:02Z", "Normal"),
        event("BackOff", "2026-11-21T12:00:03Z"),
    ]
    reason = why_waiting(waiting("ContainerCreating"), events)
    assert reason is not None
    assert reason.code == "volume_missing"
    assert reason.message.endswith("m 2026-11-21T12:00:01Z")
    assert why_waiting(pod({"phase": "Running"}), events) is None


@pytest.mark.parametrize(
    ("state", "code", "says", "is_final"),
    [
        (None, "pod_gone", "Its pod is gone.", False),
        (pod({"phase": "Running"}, deletionTimestamp="x"), "pod_gone", "was deleted", False),
        (pod({"phase": "Failed"}), "pod_gone", "nobody knows why", False),
        (
            ended("Evicted", "The node was low on resource: memory."),
            "evicted",
            "low on resource: memory",
            False,
        ),
        (ended("NodeLost", "unresponsive"), "node_gone", "unresponsive", False),
        (ended("DeadlineExceeded", "Pod was active too long"), "timed_out", "timeout", True),
        (terminated("OOMKilled", 137), "out_of_memory", "more memory than it may", True),
        (
            terminated("StartError", 128, 'exec: "python": not found'),
            "container_refused",
            '"python": not found',
            True,
        ),
        (terminated("Error", 3, "one\ntwo\n"), "attempts_lost", "exit code 3", False),
        (terminated("Error", 3, "one\ntwo\n"), "attempts_lost", "last words: two", False),
        (terminated("Completed", 0), "attempts_lost", "exit code 0", False),
        (disrupted("EvictionByEvictionAPI", "drained"), "evicted", "drained", False),
        (disrupted("PreemptionByScheduler"), "preempted", "more important", False),
        (disrupted("DeletionByTaintManager"), "node_gone", "not to be used", False),
        (disrupted("SomethingNew"), "evicted", "The cluster ended its pod", False),
    ],
)
def test_a_pod_that_ended_says_why(state: Any, code: str, says: str, is_final: bool) -> None:
    verdict = why_gone(state)
    assert verdict.reason.code == code
    assert says in verdict.reason.message
    assert verdict.is_final is is_final
    assert verdict.reason.next_step


def test_who_was_told_to_end_is_over_when_its_node_never_confirms() -> None:
    running = {"phase": "Running"}
    late = (NOW - timedelta(seconds=91)).isoformat().replace("+00:00", "Z")
    soon = (NOW - timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    assert is_over(pod(running, deletionTimestamp=late), NOW)
    assert not is_over(pod(running, deletionTimestamp=soon), NOW)
    assert not is_over(pod(running), NOW)
    assert is_over(pod({"phase": "Succeeded"}), NOW)


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
