"""What the pods of runs and agents look like."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.backends.base import AttemptRef, Refused
from himalia.backends.kubernetes.pods import OWNER, agent_pod, attempt_of, owner_of, run_pod
from himalia.backends.kubernetes.profiles import PodProfile, granted
from himalia.backends.kubernetes.settings import PodSettings
from himalia.core.names import new_id
from himalia.core.profiles import Profile
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.task import RUNNER

SETTINGS = PodSettings(
    image="example/session:1",
    authorities="himalia-ca",
    node_selector={"pool": "users"},
    tolerations=({"key": "users", "operator": "Exists"},),
)
REF = AttemptRef(owner="alice-" + "a" * 26, run_id=new_id("run"), attempt=2)


def plan(**changes: Any) -> RunPlan:
    usual: dict[str, Any] = {
        "runner": RUNNER,
        "task": {},
        "environment": "python3",
        "env": {"API_TOKEN": "canary"},
        "resources": Resources(),
        "snapshot_digest": None,
        "timeout_seconds": None,
    }
    return RunPlan(**(usual | changes))


PODS = {
    "run": run_pod(REF, plan(), SETTINGS),
    "agent": agent_pod(REF.owner, SETTINGS),
}


@pytest.mark.parametrize("kind", PODS)
def test_022_pods_have_no_right_that_they_do_not_need(kind: str) -> None:
    spec = PODS[kind]["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {
        "persistentVolumeClaim",
        "emptyDir",
        "configMap",
    }
    assert {"cpu", "memory"} == set(container["resources"]["limits"])
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert spec["nodeSelector"] == {"pool": "users"}
    assert {"key": "users", "operator": "Exists"} in spec["tolerations"]


@pytest.mark.parametrize("kind", PODS)
def test_nothing_secret_stands_in_a_pod(kind: str) -> None:
    assert "canary" not in str(PODS[kind])


def test_a_run_s_pod_is_known_by_its_name_labels_and_owner() -> None:
    pod = PODS["run"]
    assert pod["metadata"]["name"] == REF.name
    assert attempt_of(pod) == REF
    assert owner_of(pod) == REF.owner
    assert owner_of(PODS["agent"]) == REF.owner
    assert attempt_of(PODS["agent"]) is None
    assert pod["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "run-other-1"},
        {"annotations": {}},
        {"annotations": {OWNER: None}},
        {"labels": {"himalia.io/run": REF.run_id, "himalia.io/attempt": "two"}},
        {"labels": None},
    ],
)
def test_whatever_else_there_is_is_nobody_s_attempt(change: dict[str, Any]) -> None:
    pod = run_pod(REF, plan(), SETTINGS)
    assert attempt_of({**pod, "metadata": {**pod["metadata"], **change}}) is None


def test_what_a_run_asks_for_is_what_its_pod_gets() -> None:
    asked = Resources(cpu=1.5, memory_bytes=2**30)
    pod = run_pod(REF, plan(resources=asked, timeout_seconds=60.5, grace_seconds=4), SETTINGS)
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"]["cpu"] == "1500m"
    assert int(resources["limits"]["memory"]) == 2**30 + SETTINGS.overhead_bytes
    assert pod["spec"]["activeDeadlineSeconds"] > 60
    assert pod["spec"]["terminationGracePeriodSeconds"] >= 4
    modest = run_pod(REF, plan(), SETTINGS)["spec"]
    assert modest["containers"][0]["resources"]["requests"]["cpu"] == "250m"
    assert modest["containers"][0]["resources"]["limits"]["cpu"] == "4000m"
    assert "activeDeadlineSeconds" not in modest


def test_a_run_is_given_what_its_profile_says() -> None:
    shown = Profile(name="gpu", title="GPU", cpu=4, memory_bytes=8 * 2**30, gpu=2)
    given = PodProfile(
        shown=shown,
        image="example/gpu:1",
        cpu_guarantee=0.5,
        memory_guarantee_bytes=2**30,
        node_selector={"pool": "gpu"},
        tolerations=({"key": "gpu", "operator": "Exists"},),
    )
    asked = Resources(cpu=4, memory_bytes=8 * 2**30)
    spec = run_pod(REF, plan(resources=asked, profile="gpu"), SETTINGS, given)["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "example/gpu:1"
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert [taint["key"] for taint in spec["tolerations"]][:2] == ["users", "gpu"]
    over = SETTINGS.overhead_bytes
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": str(2**30 + over)},
        "limits": {"cpu": "4000m", "memory": str(8 * 2**30 + over), "nvidia.com/gpu": "2"},
    }
    # What was made smaller since the job was made holds.
    less = PodProfile(shown=shown.model_copy(update={"cpu": 1, "memory_bytes": 2**30, "gpu": 0}))
    small = run_pod(REF, plan(resources=asked, profile="gpu"), SETTINGS, less)["spec"]
    amounts = {"cpu": "1000m", "memory": str(2**30 + over)}
    assert small["containers"][0]["resources"] == {"requests": amounts, "limits": amounts}
    assert small["containers"][0]["image"] == SETTINGS.image
    assert small["nodeSelector"] == SETTINGS.node_selector


def test_068_a_run_whose_profile_is_not_its_owners_any_more_is_refused() -> None:
    there = (PodProfile(shown=Profile(name="small", title="Small")),)
    assert granted("", there) is None
    assert granted("small", there) == there[0]
    with pytest.raises(Refused) as refused:
        granted("gpu", there)
    assert refused.value.reason.code == "profile_missing"
    assert "'gpu'" in refused.value.reason.message
