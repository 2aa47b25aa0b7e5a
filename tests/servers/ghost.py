"""A node that is only an object: tests make it ready, cordon it, play its kubelet and lose it.

Only pods that tolerate its taint and ask for its label come to it.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from tests.servers.cluster import Cluster
from tests.servers.patience import PATIENCE_SECONDS

_TAINT = "tests.himalia.io/ghost"
_OUT = "tests.himalia.io/out=yes:NoExecute"
_GONE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


class Ghost:
    """``with Ghost(cluster, name) as ghost``; the node goes with it."""

    def __init__(self, cluster: Cluster, name: str, *, is_cordoned: bool = False) -> None:
        self._cluster = cluster
        self.name = name
        self._is_cordoned = is_cordoned
        self._label = f"tests.himalia.io/{name}"
        self._labelled: list[str] = []
        self.selector = {self._label: "yes"}
        """Leads pods here, and nowhere else until `let_in` says so."""
        self.tolerations = ({"key": _TAINT, "operator": "Exists"},)

    def __enter__(self) -> Self:
        taint = {"key": _TAINT, "value": "yes", "effect": "NoSchedule"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.selector},
            "spec": {"unschedulable": self._is_cordoned, "taints": [taint]},
        }
        self._cluster.kubectl("create", "--filename=-", given=node)
        self.beat()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self._labelled:
            self._cluster.kubectl("label", "node", node, f"{self._label}-")
        self._cluster.kubectl("delete", "node", self.name)

    def beat(self, *, is_ready: bool = True) -> None:
        """Say that the node is well, or that it is not; for some 40 seconds that is believed."""
        amounts = {"cpu": "8", "memory": "16Gi", "pods": "50", "ephemeral-storage": "50Gi"}
        status = {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if is_ready else "False",
                    "reason": "KubeletReady" if is_ready else "KubeletNotReady",
                    "message": "a test says so",
                    "lastHeartbeatTime": _now(),
                    "lastTransitionTime": _now(),
                }
            ],
        }
        self._patch("node", self.name, status)

    def uncordon(self) -> None:
        """Let pods come."""
        self._cluster.kubectl("uncordon", self.name)

    def let_in(self, node: str) -> None:
        """Have another node take the pods that ask for this one."""
        self._cluster.kubectl("label", "node", node, f"{self._label}=yes")
        self._labelled.append(node)

    def until_bound(self, space: str, pod: str) -> None:
        """Wait until a pod was given to this node."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self._get(space, pod)["spec"].get("nodeName") != self.name:
            assert time.monotonic() < end, pod
            self.beat()
            time.sleep(0.5)

    def run(self, space: str, pod: str) -> None:
        """Say that a pod runs, as a kubelet does."""
        container = {
            "name": "run",
            "image": self._get(space, pod)["spec"]["containers"][0]["image"],
            "imageID": "",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": _now()}},
        }
        kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        conditions = [{"type": kind, "status": "True"} for kind in kinds]
        status = {"phase": "Running", "startTime": _now(), "conditions": conditions}
        self._patch("pod", pod, {**status, "containerStatuses": [container]}, space=space)

    def drive_out(self) -> None:
        """Have pods leave; nobody on the node ever hears of it."""
        self._cluster.kubectl("taint", "node", self.name, _OUT)

    def lose(self) -> None:
        """Have the node go, and an admin say that it will not come back."""
        self.beat(is_ready=False)
        self._cluster.kubectl("taint", "node", self.name, _GONE)

    def _get(self, space: str, pod: str) -> Any:
        return self._cluster.get("pod", pod, "--namespace", space)

    def _patch(self, kind: str, name: str, status: dict[str, Any], *, space: str = "") -> None:
        where = ("--namespace", space) if space else ()
        how = ("--subresource=status", "--type=merge", f"--patch={json.dumps({'status': status})}")
        self._cluster.kubectl("patch", kind, name, *where, *how)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
