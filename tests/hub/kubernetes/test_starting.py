"""What keeps a pod from running, and what its user is told of that."""

from __future__ import annotations

from typing import Any

import pytest

from himalia_hub.kubernetes.starting import look, refused, told

NOTEBOOK = {
    "name": "notebook",
    "resources": {
        "requests": {"cpu": "64", "memory": "512Gi"},
        "limits": {"memory": "1Gi"},
    },
}


def pod(*, phase: str = "Pending", state: Any = None, **status: Any) -> dict[str, Any]:
    """Return a session's pod, as the API server shows it."""
    if state is not None:
        container = {"name": "notebook", "image": "lab:1", "state": state}
        status["containerStatuses"] = [container]
    return {
        "metadata": {"name": "jupyter-alice"},
        "spec": {"containers": [NOTEBOOK]},
        "status": {"phase": phase, **status},
    }


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return pod(conditions=[{**condition, "message": message}])


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod(state={"waiting": {"reason": reason, "message": message}})


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            unscheduled("0/3 nodes are available: 3 Insufficient cpu, 2 Insufficient memory."),
            "No machine has enough cores and memory for your server just now. It asks for 64 cpu",
        ),
        (unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), "nvidia.com/gpu"),
        (
            unscheduled(
                "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
            ),
            "Your home is not ready",
        ),
        (
            unscheduled("0/2 nodes: 1 node(s) didn't match Pod's node affinity/selector."),
            "No machine of the kind that your server asks for",
        ),
        (unscheduled("0/2 nodes: 2 node(s) had untolerated taint {gpu: }."), "another profile"),
        (waiting("ImagePullBackOff", "Back-off pulling image"), "lab:1, cannot be fetched"),
    ],
)
def test_100_what_may_pass_is_told_while_the_start_goes_on(seen: Any, words: str) -> None:
    found = look(seen)
    assert found is not None
    assert words in found.text
    assert not found.is_final


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (waiting("ErrImagePull", "lab:1: not found"), "The machine says: lab:1: not found"),
        (waiting("ImagePullBackOff", "pull access denied for lab"), "cannot be fetched"),
        (waiting("InvalidImageName"), "The machine says: InvalidImageName"),
        (waiting("CreateContainerConfigError", "configmap gone"), "configmap gone"),
        (pod(state={"terminated": {"reason": "OOMKilled", "exitCode": 137}}), "memory than it may"),
        (pod(state={"terminated": {"reason": "Error", "exitCode": 3}}), "ended while it started"),
        (pod(phase="Failed", reason="Evicted", message="The node was low on disk."), "low on disk"),
        ({**pod(), "metadata": {"deletionTimestamp": "now"}}, "stopped from outside"),
    ],
)
def test_100_what_does_not_pass_ends_the_start_at_once(seen: Any, words: str) -> None:
    found = look(seen)
    assert found is not None
    assert words in found.text
    assert found.is_final


def test_100_a_server_that_was_started_again_has_failed_before() -> None:
    seen = waiting("CrashLoopBackOff", "back-off 10s")
    seen["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 7}}
    found = look(seen)
    assert found is not None
    assert found.ended == "status 7"


def test_nothing_is_said_of_a_pod_that_comes_up() -> None:
    assert look(None) is None
    assert look(pod()) is None
    assert look(waiting("ContainerCreating")) is None
    assert look(pod(phase="Running", state={"running": {}})) is None


def test_a_home_that_cannot_be_mounted_is_told_until_it_can() -> None:
    failed = {"reason": "FailedMount", "message": "mount.nfs: access denied by server"}
    found = look(waiting("ContainerCreating"), [{"reason": "Scheduled"}, failed])
    assert found is not None
    assert "Your home cannot be reached" in found.text
    assert "access denied" in found.text
    assert look(waiting("ContainerCreating"), [failed, {"reason": "Pulled"}]) is None


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        ("Scheduled", "Successfully assigned a/b to node-1", "A machine was found"),
        ("Pulling", "Pulling image", "fetches the image"),
        ("FailedScheduling", "0/1 nodes: 1 Insufficient memory.", "enough memory"),
        ("Failed", "Failed to pull image: not found", "image cannot be fetched"),
        ("FailedMount", "timed out", "home cannot be reached"),
        ("TriggeredScaleUp", "pod triggered scale-up", "Another machine"),
        ("SandboxChanged", "Pod sandbox changed", None),
    ],
)
def test_events_are_told_in_plain_words(reason: str, message: str, words: str | None) -> None:
    said = told({"reason": reason, "message": message})
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (
            403,
            "exceeded quota: himalia, requested: memory=8Gi, used: memory=60Gi, limited:",
            "asks for memory=8Gi, and memory=60Gi is in use",
        ),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": …', "safety"),
        (403, 'pods is forbidden: User "hub" cannot create', "roles of its chart"),
        (403, "maximum memory usage per Container is 2Gi, but limit is 8Gi", "more than one may"),
        (422, 'Pod "x" is invalid: spec', "The cluster refuses your server"),
        (500, "etcdserver: request timed out", "does not answer just now"),
        (None, "", "does not answer just now"),
    ],
)
def test_a_pod_that_the_cluster_does_not_take_is_explained(
    status: int | None, message: str, words: str
) -> None:
    assert words in refused(status, message)
