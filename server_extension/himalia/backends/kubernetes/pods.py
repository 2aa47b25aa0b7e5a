"""What pods look like: pure functions, all of whose results may run in the strictest namespaces."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from himalia.backends.base import AttemptRef
from himalia.backends.kubernetes.profiles import PodProfile
from himalia.backends.kubernetes.settings import PodSettings, Share
from himalia.core.homes import SIZE
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan

PART_OF, COMPONENT = "app.kubernetes.io/part-of", "app.kubernetes.io/component"
RUN, ATTEMPT, OWNER = "himalia.io/run", "himalia.io/attempt", "himalia.io/owner"
AGENT_POD = "himalia-agent"
RUNS = f"{PART_OF}=himalia,{COMPONENT}=run"
"""Selects the pods of runs."""

_AUTHORITIES = "/etc/himalia/ca"
_AWAY_SECONDS = 60
"""A node may be out of touch until its pods are given up."""
_DEADLINE_MARGIN_SECONDS = 600
"""For a pod to come up and to end; the runner keeps the timeout itself."""
_LEAVING_SECONDS = 5
"""Beyond a run's grace, for its runner to leave the result."""
Manifest = dict[str, Any]


def run_pod(
    ref: AttemptRef, plan: RunPlan, settings: PodSettings, given: PodProfile | None = None
) -> Manifest:
    """Return the pod of one attempt, which is given what the plan's profile says."""
    if given is not None:
        settings = _with(settings, given)
    state = f"{settings.home}/.himalia/{ref.owner}"
    folder = f"{state}/runs/{ref.run_id}/{ref.attempt}"
    # Without what the owner installed in the home: kernels have it, the runner need not bear it.
    runner = ("-P", "-s", "-m", "himalia.runners.pod", plan.runner, folder)
    command = [settings.python, *runner]
    labels = {COMPONENT: "run", RUN: ref.run_id, ATTEMPT: str(ref.attempt)}
    pod = _pod(ref.owner, ref.name, labels, settings)
    spec = pod["spec"]
    spec["containers"] = [
        _container("run", command, _resources(plan.resources, settings, given), settings)
    ]
    spec["terminationGracePeriodSeconds"] = math.ceil(plan.grace_seconds) + _LEAVING_SECONDS
    if plan.timeout_seconds is not None:
        allowed = plan.timeout_seconds + plan.grace_seconds + _DEADLINE_MARGIN_SECONDS
        spec["activeDeadlineSeconds"] = math.ceil(allowed)
    return pod


def agent_pod(owner: str, settings: PodSettings) -> Manifest:
    """Return the pod that an owner's agents are started in."""
    command = [
        *(settings.python, "-I", "-m", "himalia.agents.residence"),
        str(settings.agent_idle_seconds),
    ]
    pod = _pod(owner, AGENT_POD, {COMPONENT: "agent"}, settings)
    memory = settings.agent_memory_bytes
    resources = _amounts({"cpu": 0.05, "memory": memory}, {"cpu": 1.0, "memory": memory})
    pod["spec"]["containers"] = [_container("agent", command, resources, settings)]
    pod["spec"]["shareProcessNamespace"] = True
    pod["spec"]["terminationGracePeriodSeconds"] = 5
    return pod


def attempt_of(pod: Manifest) -> AttemptRef | None:
    """Return the attempt that a pod executes, if it is one of ours."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    owner, run_id = owner_of(pod), labels.get(RUN)
    number = str(labels.get(ATTEMPT, ""))
    if owner is None or run_id is None or not (number.isascii() and number.isdigit()):
        return None
    ref = AttemptRef(owner=owner, run_id=str(run_id), attempt=int(number))
    return ref if metadata.get("name") == ref.name else None


def owner_of(pod: Manifest) -> str | None:
    """Return whose a pod is, if it is one of ours."""
    owner = (pod["metadata"].get("annotations") or {}).get(OWNER)
    return owner if isinstance(owner, str) else None


def _pod(owner: str, name: str, labels: dict[str, str], settings: PodSettings) -> Manifest:
    spec: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.uid,
            "runAsGroup": settings.gid,
            "fsGroup": settings.gid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [*(dict(item) for item in settings.tolerations), *_AWAY],
        "volumes": [
            {"name": "home", "persistentVolumeClaim": {"claimName": settings.claim}},
            {"name": "tmp", "emptyDir": {"sizeLimit": str(settings.scratch_bytes)}},
            *(_share_volume(share) for share in settings.shares),
            *_authorities_volume(settings),
        ],
    }
    metadata = {
        "name": name,
        "labels": {"app.kubernetes.io/name": "himalia", PART_OF: "himalia", **labels},
        "annotations": {OWNER: owner},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(
    name: str, command: list[str], resources: Manifest, settings: PodSettings
) -> Manifest:
    home = settings.home
    env = {
        "HOME": home,
        "USER": "jovyan",
        "LOGNAME": "jovyan",
        "TMPDIR": "/tmp",  # noqa: S108 - the container's own
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108
    }
    if settings.home_bytes is not None:
        env[SIZE] = str(settings.home_bytes)
    mounts: list[Manifest] = [
        {"name": "home", "mountPath": home},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    mounts += [
        {"name": one.claim, "mountPath": one.path, "readOnly": one.is_read_only}
        for one in settings.shares
    ]
    if settings.authorities:
        mounts.append({"name": "authorities", "mountPath": _AUTHORITIES, "readOnly": True})
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        env.update(dict.fromkeys(names, f"{_AUTHORITIES}/ca.crt"))
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": command,
        "workingDir": home,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _with(settings: PodSettings, given: PodProfile) -> PodSettings:
    return replace(
        settings,
        image=given.image or settings.image,
        node_selector=given.node_selector or settings.node_selector,
        tolerations=(*settings.tolerations, *given.tolerations),
    )


def _resources(asked: Resources, settings: PodSettings, given: PodProfile | None) -> Manifest:
    cpu = asked.cpu or settings.cpu
    limit = asked.cpu or max(settings.cpu, settings.cpu_limit)
    memory = sure = (asked.memory_bytes or settings.memory_bytes) + settings.overhead_bytes
    if given is None:
        return _amounts({"cpu": cpu, "memory": sure}, {"cpu": limit, "memory": memory})
    # It may give less by now than when the job asked for all of it.
    limit = min(limit, given.shown.cpu or limit)
    if given.shown.memory_bytes is not None:
        memory = min(memory, given.shown.memory_bytes + settings.overhead_bytes)
    if given.memory_guarantee_bytes is not None:
        sure = given.memory_guarantee_bytes + settings.overhead_bytes
    cpu, sure = min(given.cpu_guarantee or cpu, limit), min(sure, memory)
    made = _amounts({"cpu": cpu, "memory": sure}, {"cpu": limit, "memory": memory})
    if given.shown.gpu:
        made["limits"][given.gpu_kind] = str(given.shown.gpu)
    return made


def _amounts(requests: dict[str, float], limits: dict[str, float]) -> Manifest:
    def words(of: dict[str, float]) -> dict[str, str]:
        return {"cpu": f"{math.ceil(of['cpu'] * 1000)}m", "memory": str(math.ceil(of["memory"]))}

    return {"requests": words(requests), "limits": words(limits)}


def _share_volume(share: Share) -> Manifest:
    source = {"claimName": share.claim, "readOnly": share.is_read_only}
    return {"name": share.claim, "persistentVolumeClaim": source}


def _authorities_volume(settings: PodSettings) -> list[Manifest]:
    if not settings.authorities:
        return []
    return [{"name": "authorities", "configMap": {"name": settings.authorities}}]


_AWAY: tuple[Manifest, ...] = tuple(
    {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": _AWAY_SECONDS,
    }
    for state in ("not-ready", "unreachable")
)
