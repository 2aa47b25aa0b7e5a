"""Nodes on which pods run by name only: KWOK, of a pinned version, built from Go's own proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.cluster import Cluster

VERSION = "v0.7.0"
_MODULE = f"sigs.k8s.io/kwok/cmd/kwok@{VERSION}"
_FAKE = "kwok.x-k8s.io/node"
_PODS = 1000
_READY_SECONDS = 120


def program() -> Path:
    """Return KWOK's program, built if it is not there."""
    cache = Path(os.environ.get("HIMALIA_CACHE") or Path.home() / ".cache" / "himalia")
    folder = cache / "kwok" / VERSION
    if not (folder / "kwok").exists():
        go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
        if go is None:
            raise SystemExit(f"KWOK is built with Go, which is not there: go install {_MODULE}")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["nice", go, "install", _MODULE],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": ""},
            check=True,
        )
    return folder / "kwok"


@contextmanager
def fake_nodes(cluster: Cluster, prefix: str, pods: int, log: Path) -> Iterator[None]:
    """Give the cluster nodes for so many pods, with a label and a taint ``bench``, for a while."""
    names = [f"{prefix}-{number}" for number in range(-(-pods // _PODS))]
    items = [_node(name, prefix) for name in names]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                *(str(program()), "--kubeconfig", cluster.kubeconfig),
                *("--manage-all-nodes=false", "--node-lease-duration-seconds=200"),
                f"--manage-nodes-with-annotation-selector={_FAKE}={prefix}",
            ],
            stdout=said,
            stderr=said,
        )
    try:
        made = {"apiVersion": "v1", "kind": "List", "items": items}
        cluster.kubectl("create", "--filename=-", given=made)
        until = time.monotonic() + _READY_SECONDS
        while not all(map(_is_ready, cluster.get("nodes", f"--selector=bench={prefix}")["items"])):
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError(f"fake nodes do not get ready:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield
    finally:
        cluster.kubectl("delete", "nodes", f"--selector=bench={prefix}", "--ignore-not-found")
        process.terminate()
        process.wait(30)


def _node(name: str, prefix: str) -> dict[str, object]:
    room = {"cpu": "10000", "memory": "10Ti", "pods": str(_PODS)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {_FAKE: prefix},
            "labels": {"bench": prefix, "type": "kwok", "kubernetes.io/hostname": name},
        },
        # What is not of this benchmark has no business there.
        "spec": {"taints": [{"key": "bench", "value": prefix, "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    }


def _is_ready(node: dict[str, object]) -> bool:
    status = node["status"]
    assert isinstance(status, dict)
    conditions = status.get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
