"""The pods that a check makes, and what should and should not be reached from one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from himalia_hub.isolation.probe import MARK, Target
from himalia_hub.kubernetes.bundle import OWNER, PART_OF, SESSION_ACCOUNT
from himalia_hub.kubernetes.pods import HOME, container_security, mounts, pod_security, volumes
from himalia_hub.kubernetes.settings import Kubernetes

SESSION_PORT = 8888
_POSTGRESQL = 5432
_MEMORY, _CPU = "256Mi", "50m"

Manifest = dict[str, Any]

TITLES = {
    "hub": "the hub, by its name",
    "control": "control, by its name",
    "own-home": "the user's own home",
    "api-server": "the cluster's API server",
    "node": "the node's kubelet",
    "metadata": "where clouds tell machines their secrets",
    "database": "the database",
    "proxy-api": "the proxy's API",
    "namespaces": "the keeper of namespaces",
    "neighbour": "another user's session",
    "nfs": "the server of the homes",
    "nfs-names": "the server of the homes, its portmapper",
    "token": "a token for the API server",
    "other-homes": "another user's home",
}
"""What is looked at, in words."""
OPEN = frozenset({"hub", "control", "own-home"})


def targets(
    settings: Kubernetes, *, neighbour: Mapping[str, Any], store_url: str, env: Mapping[str, str]
) -> list[Target]:
    """Return every address to try; `neighbour` is the status of another user's pod."""
    here = settings.release_namespace
    store = urlsplit(store_url)
    known = [
        ("hub", f"hub.{here}", 8081),
        ("control", f"control.{here}", settings.control_port),
        ("api-server", env["KUBERNETES_SERVICE_HOST"], int(env["KUBERNETES_SERVICE_PORT"])),
        ("node", neighbour["hostIP"], 10250),
        ("metadata", "169.254.169.254", 80),
        ("database", store.hostname or f"database.{here}", store.port or _POSTGRESQL),
        ("proxy-api", f"proxy-api.{here}", 8001),
        ("namespaces", f"namespaces.{here}", settings.namespaces_port),
        ("neighbour", neighbour["podIP"], SESSION_PORT),
    ]
    if settings.nfs_server:
        known += [("nfs", settings.nfs_server, 2049), ("nfs-names", settings.nfs_server, 111)]
    return [
        Target(name=name, host=host, port=port, is_open=name in OPEN) for name, host, port in known
    ]


def neighbour(owner: str, settings: Kubernetes) -> Manifest:
    """Return a pod that somebody else's session might be: it listens, and has a file at home."""
    code = (
        f"import http.server, pathlib; pathlib.Path.home().joinpath({MARK!r}).touch(); "
        f"http.server.test(http.server.SimpleHTTPRequestHandler, port={SESSION_PORT})"
    )
    made = _pod("himalia-neighbour", owner, ["-c", code], settings)
    made["spec"]["containers"][0]["readinessProbe"] = {
        "tcpSocket": {"port": SESSION_PORT},
        "periodSeconds": 1,
    }
    return made


def probe(owner: str, settings: Kubernetes, tried: Sequence[Target]) -> Manifest:
    """Return the pod that tries."""
    told = json.dumps([asdict(target) for target in tried])
    return _pod("himalia-probe", owner, ["-m", "himalia_hub.isolation.probe", told], settings)


def _pod(name: str, owner: str, arguments: list[str], settings: Kubernetes) -> Manifest:
    """Return a pod as sessions have them: the same labels, image, account and home."""
    labels = {**PART_OF, "app.kubernetes.io/component": "session"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {OWNER: owner}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": 600,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "serviceAccountName": SESSION_ACCOUNT,
            "nodeSelector": dict(settings.node_selector),
            "tolerations": list(settings.tolerations),
            "securityContext": {
                **pod_security(),
                "runAsUser": settings.uid,
                "runAsGroup": settings.gid,
                "fsGroup": settings.gid,
            },
            "volumes": volumes(settings),
            "containers": [
                {
                    "name": "himalia",
                    "image": settings.image,
                    "imagePullPolicy": settings.pull_policy,
                    "command": [settings.python, "-I", *arguments],
                    "workingDir": "/tmp",  # noqa: S108 - in the pod
                    "env": [{"name": "HOME", "value": HOME}],
                    "securityContext": {**container_security(), "readOnlyRootFilesystem": True},
                    "volumeMounts": mounts(settings),
                    "resources": {
                        "requests": {"cpu": _CPU, "memory": _MEMORY},
                        "limits": {"cpu": "1", "memory": _MEMORY},
                    },
                }
            ],
        },
    }
