"""Records what a real cluster says of pods: ``python -m tests.unit.kubernetes.record``.

Has everything befall a pod that may befall one, and writes into ``recorded.json`` what the API
server and the events tell of it, with the version of Kubernetes. Needs what tests/kubernetes needs;
takes some two minutes. Names and addresses of the cluster are replaced.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from himalia.core.names import new_id
from tests.servers.cluster import UID, Cluster, found
from tests.servers.ghost import Ghost
from tests.servers.patience import PATIENCE_SECONDS

FILE = Path(__file__).with_name("recorded.json")
_SLEEP = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
_KEPT = {"finalizers": ["tests.himalia.io/kept"]}
"""Stays after its end, to be looked at."""
_OF_NO_USE = frozenset(
    {
        *("managedFields", "creationTimestamp", "resourceVersion", "generation", "namespace"),
        *("podIP", "podIPs", "hostIP", "hostIPs", "containerID", "imageID", "volumeMounts"),
        *("allocatedResources", "resources", "user", "observedGeneration", "lastProbeTime", "spec"),
    }
)
Seen = dict[str, Any]


class Recorder:
    """A namespace whose pods suffer."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.space = f"record-{new_id('run')[-6:]}"
        self.found: dict[str, Seen] = {}
        self._image = cluster.image("session")

    def open(self) -> None:
        """Make the namespace, and what pods in it want."""
        self.cluster.kubectl("create", "namespace", self.space)
        rank = {"value": 1000, "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        self.cluster.kubectl("create", "-f-", given={**rank, "metadata": {"name": self.space}})

    def close(self) -> None:
        """Remove it."""
        for pod in self._all():
            path = f"pod/{pod['metadata']['name']}"
            bare = '{"metadata": {"finalizers": null}}'
            self._kubectl("patch", path, "--type=merge", f"--patch={bare}")
        self._kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
        self.cluster.kubectl("delete", "namespace", self.space, "--wait=false")
        self.cluster.kubectl("delete", "priorityclass", self.space)

    def make(self, name: str, code: str = _SLEEP, *, kept: bool = False, **spec: Any) -> None:
        """Make a pod that executes some code; of `spec`, `container` is the container's."""
        container = {
            "name": "run",
            "image": self._image,
            "command": ["/opt/himalia/bin/python", "-c", code],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **spec.pop("container", {}),
        }
        usual = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "securityContext": {"runAsUser": UID, "runAsNonRoot": True},
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **(_KEPT if kept else {})},
            "spec": {**usual, **spec, "containers": [container]},
        }
        self._kubectl("create", "--filename=-", given=pod)

    def keep(self, name: str, is_so: Callable[[Seen], bool], *, pod: str = "") -> None:
        """Wait until something is so of a pod, and keep what is said of it then."""
        pod = pod or name.replace("_", "-")
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            seen = json.loads(self._kubectl("get", "pod", pod, "--output=json"))
            about = f"--field-selector=involvedObject.name={pod}"
            events = json.loads(self._kubectl("get", "events", about, "--output=json"))["items"]
            if is_so({**seen, "events": events}):
                break
            assert time.monotonic() < end, (name, seen["status"], events)
            time.sleep(0.5)
        print(name, file=sys.stderr)
        told = ("type", "reason", "message", "lastTimestamp", "eventTime")
        self.found[name] = {
            "pod": _shorter(seen),
            "events": [{field: event.get(field) for field in told} for event in events],
        }

    def evict(self, pod: str) -> None:
        """Have a pod go as for a drained node."""
        about = {"name": pod, "namespace": self.space}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
        path = f"/api/v1/namespaces/{self.space}/pods/{pod}/eviction"
        self.cluster.kubectl("create", "--raw", path, "--filename=-", given=eviction)

    def delete(self, pod: str) -> None:
        """Have a pod deleted, by somebody."""
        self._kubectl("delete", "pod", pod, "--wait=false")

    def _kubectl(self, *words: str, given: object = None) -> str:
        return self.cluster.kubectl(*words, "--namespace", self.space, given=given)

    def _all(self) -> list[Seen]:
        items: list[Seen] = json.loads(self._kubectl("get", "pods", "--output=json"))["items"]
        return items

    def write(self) -> None:
        """Write what was found, without this cluster's names."""
        version = json.loads(self.cluster.kubectl("version", "--output=json"))["serverVersion"]
        text = json.dumps(self.found)
        nodes = self.cluster.get("nodes")["items"]
        names = {
            self.space: "recorded",
            self.cluster.registry: "registry.example.org",
            **{node["metadata"]["name"]: f"machine-{n}" for n, node in enumerate(nodes)},
            **{
                one: f"192.0.2.{n}"
                for n, one in enumerate(
                    address["address"]
                    for node in nodes
                    for address in node["status"].get("addresses", ())
                    if address["type"] == "InternalIP"
                )
            },
        }
        for name, other in names.items():
            text = text.replace(name, other)
        whole = {"kubernetes": version["gitVersion"], "pods": json.loads(text)}
        FILE.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")


def _shorter(seen: Any) -> Any:
    """Leave out what says nothing about what befell a pod."""
    if isinstance(seen, list):
        return [_shorter(item) for item in seen]
    if isinstance(seen, dict):
        return {name: _shorter(item) for name, item in seen.items() if name not in _OF_NO_USE}
    return seen


def _waits(*reasons: str) -> Callable[[Seen], bool]:
    def is_so(pod: Seen) -> bool:
        states = [one.get("state", {}) for one in pod["status"].get("containerStatuses", ())]
        return any((state.get("waiting") or {}).get("reason") in reasons for state in states)

    return is_so


def _phase(*phases: str) -> Callable[[Seen], bool]:
    return lambda pod: pod["status"].get("phase") in phases


def _is_refused(pod: Seen) -> bool:
    return any(one.get("reason") == "Unschedulable" for one in pod["status"].get("conditions", ()))


def _has_event(reason: str) -> Callable[[Seen], bool]:
    return lambda pod: any(event["reason"] == reason for event in pod["events"])


def _is_disrupted(pod: Seen) -> bool:
    kinds = {one["type"] for one in pod["status"].get("conditions", ())}
    return "DisruptionTarget" in kinds and bool(pod["metadata"].get("deletionTimestamp"))


def _small(memory: str) -> dict[str, Any]:
    amounts = {"cpu": "10m", "memory": memory}
    return {"resources": {"requests": amounts, "limits": amounts}}


def pending(at: Recorder) -> None:
    """Record pods that do not come up."""
    at.make("unschedulable", container={"resources": {"requests": {"cpu": "1000"}}})
    nowhere = {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}
    at.make("no-claim", volumes=[nowhere])
    at.make("no-image", container={"image": f"{at.cluster.registry}/nothing/of-this-name:1"})
    at.make("bad-image", container={"image": "No Image"})
    secret = {"secretKeyRef": {"name": "none", "key": "none"}}
    at.make("no-secret", container={"env": [{"name": "A", "valueFrom": secret}]})
    lacks = {"name": "lacks", "configMap": {"name": "none"}}
    mounts = {"volumeMounts": [{"name": "lacks", "mountPath": "/x"}]}
    at.make("no-volume", volumes=[lacks], container=mounts)
    at.keep("unschedulable", _is_refused)
    at.keep("no_claim", _is_refused)
    at.keep("image_pull_fails", _waits("ErrImagePull"), pod="no-image")
    at.keep("bad_image", _waits("InvalidImageName"))
    at.keep("no_secret", _waits("CreateContainerConfigError"))
    at.keep("no_volume", _has_event("FailedMount"))
    at.keep("image_pull_waits", _waits("ImagePullBackOff"), pod="no-image")


def ended(at: Recorder) -> None:
    """Record pods that ended by themselves, by what they did, or by what somebody wanted."""
    at.make("completed", "print('done')")
    at.make("failed", "import sys; print('one'); sys.exit('two')")
    much = "import mmap\nm = mmap.mmap(-1, 2**30)\nfor n in range(0, 2**30, 4096): m[n] = 1"
    at.make("out-of-memory", much, container=_small("64Mi"))
    at.make("no-program", container={"command": ["/none"]})
    at.make("too-late", activeDeadlineSeconds=5)
    tmp = {"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}
    mounts = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    writes = f"open('/tmp/much', 'wb').write(bytes(2**25)); {_SLEEP}"
    at.make("too-much-disk", writes, volumes=[tmp], container=mounts)
    for name in ("drained", "deleted"):
        at.make(name, kept=True)
    at.keep("completed", _phase("Succeeded"))
    at.keep("failed", _phase("Failed"))
    at.keep("out_of_memory", _phase("Failed"))
    at.keep("no_program", _phase("Failed"))
    at.keep("too_late", _phase("Failed"))
    at.keep("running", _phase("Running"), pod="drained")
    at.keep("running_too", _phase("Running"), pod="deleted")
    at.evict("drained")
    at.delete("deleted")
    at.keep("terminating", lambda pod: "deletionTimestamp" in pod["metadata"], pod="deleted")
    at.keep("draining", _is_disrupted, pod="drained")
    at.keep("drained", _phase("Failed"))
    at.keep("deleted", _phase("Failed"))
    at.keep("too_much_disk", _phase("Failed"))
    del at.found["running_too"]


def lost(at: Recorder, ghost: Ghost) -> None:
    """Record pods whose node is lost, or wanted for others."""
    here: dict[str, Any] = {"nodeSelector": ghost.selector, "tolerations": list(ghost.tolerations)}
    large = {"resources": {"requests": {"cpu": "5"}}}
    at.make("preempted", container=large, **here)
    at.make("cordoned", **here, container=large)
    at.keep("cordoned", _is_refused)
    at.delete("cordoned")
    at.keep("no_node", _is_refused, pod="preempted")
    ghost.uncordon()
    ghost.until_bound(at.space, "preempted")
    ghost.run(at.space, "preempted")
    at.make("matters", container=large, priorityClassName=at.space, **here)
    at.keep("preempted", _is_disrupted)
    at.make("lost", kept=True, **here)
    ghost.until_bound(at.space, "lost")
    ghost.run(at.space, "lost")
    ghost.lose()
    at.keep("machine_out_of_touch", _is_disrupted, pod="lost")
    at.keep("machine_gone", _phase("Failed"), pod="lost")


def main() -> None:
    """Record everything."""
    cluster = found()
    if cluster is None:
        sys.exit("This needs a cluster: see docs/how-to/kubernetes.md.")
    at = Recorder(cluster)
    at.open()
    try:
        with Ghost(cluster, f"ghost-{at.space}", is_cordoned=True) as ghost:
            pending(at)
            ended(at)
            lost(at, ghost)
            at.write()
    finally:
        at.close()


if __name__ == "__main__":
    main()
