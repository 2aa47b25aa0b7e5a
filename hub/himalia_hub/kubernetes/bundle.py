"""The bundle: all that a user's namespace consists of, as manifests. Nothing here asks anybody."""

from __future__ import annotations

import base64
import posixpath
from dataclasses import dataclass
from typing import Any

from himalia.core.names import namespace
from himalia_hub.kubernetes.network import policies
from himalia_hub.kubernetes.settings import Kubernetes

OWNER = "himalia.io/owner"
"""Annotation of everything: whose it is."""
USER = "himalia.io/user"
"""Annotation of a namespace: the user's name at the hub."""
PART_OF = {"app.kubernetes.io/part-of": "himalia"}
RELEASE = "himalia.io/release"
"""Label of namespaces and volumes: which hub they belong to."""
CLAIM = "home"
SESSION_ACCOUNT = "himalia-session"
RUN_ACCOUNT = "himalia-run"
CA_CONFIG = "himalia-ca"
CA_FILE = "ca.crt"
PULL_SECRET = "himalia-pull"  # noqa: S105 - a name
_STRICTNESS = "restricted"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What files say that the settings name."""

    pull: bytes = b""
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Whom a namespace is for."""

    owner: str
    user: str
    """Name at the hub; shown, and never derived from."""


def namespace_of(tenant: Tenant, settings: Kubernetes) -> Manifest:
    """Return the namespace itself, which comes first (:raises ValueError: this is no owner)."""
    levels = {
        f"pod-security.kubernetes.io/{mode}{end}": value
        for mode in ("enforce", "audit", "warn")
        for end, value in (("", _STRICTNESS), ("-version", "latest"))
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace(tenant.owner, settings.prefix),
            "labels": {**PART_OF, RELEASE: settings.release_namespace, **levels},
            "annotations": {OWNER: tenant.owner, USER: tenant.user},
        },
    }


def volume_of(tenant: Tenant, settings: Kubernetes) -> Manifest | None:
    """Return the user's own part of the NFS export; None where a storage class gives volumes."""
    if not settings.nfs_server:
        return None
    name = namespace(tenant.owner, settings.prefix)
    spec: Manifest = {
        "capacity": {"storage": settings.home_size},
        "accessModes": [settings.access_mode],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "nfs": {"server": settings.nfs_server, "path": path_of(tenant.owner, settings)},
        # Nobody else's claim may take it.
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": name,
            "name": CLAIM,
        },
    }
    if settings.nfs_options:
        spec["mountOptions"] = list(settings.nfs_options)
    labels = {**PART_OF, RELEASE: settings.release_namespace}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": labels, "annotations": {OWNER: tenant.owner}},
        "spec": spec,
    }


def path_of(owner: str, settings: Kubernetes) -> str:
    """Return where the server of the export has the home of an owner."""
    return posixpath.join("/", settings.nfs_export, "homes", owner)


def contents(tenant: Tenant, settings: Kubernetes, given: Given) -> list[Manifest]:
    """Return what is in the namespace, in no order."""
    name = namespace(tenant.owner, settings.prefix)
    made = [
        _claim(settings, name),
        *(_account(one, settings) for one in ("default", SESSION_ACCOUNT, RUN_ACCOUNT)),
        *(_networking(title, spec) for title, spec in policies(settings)),
        *_bindings(settings),
    ]
    if settings.quota:
        made.append(_core("ResourceQuota", "himalia", spec={"hard": dict(settings.quota)}))
    if settings.limits:
        limit = {"type": "Container", **settings.limits}
        made.append(_core("LimitRange", "himalia", spec={"limits": [limit]}))
    if given.ca:
        made.append(_core("ConfigMap", CA_CONFIG, data={CA_FILE: given.ca}))
    if given.pull:
        secret = base64.b64encode(given.pull).decode()
        made.append(
            _core(
                "Secret",
                PULL_SECRET,
                type="kubernetes.io/dockerconfigjson",
                data={".dockerconfigjson": secret},
            )
        )
    for one in made:
        one["metadata"] |= {
            "namespace": name,
            "labels": dict(PART_OF),
            "annotations": {OWNER: tenant.owner},
        }
    return made


def _claim(settings: Kubernetes, volume: str) -> Manifest:
    spec: Manifest = {
        "accessModes": [settings.access_mode],
        "resources": {"requests": {"storage": settings.home_size}},
    }
    if settings.nfs_server:
        spec |= {"storageClassName": "", "volumeName": volume}
    elif settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    return _core("PersistentVolumeClaim", CLAIM, spec=spec)


def _account(name: str, settings: Kubernetes) -> Manifest:
    pulls = [{"name": PULL_SECRET}] if settings.pull_secret_file else []
    # Not even a pod that forgets to say so gets a token.
    return _core("ServiceAccount", name, automountServiceAccountToken=False, imagePullSecrets=pulls)


def _networking(name: str, spec: Manifest) -> Manifest:
    made = _core("NetworkPolicy", name, spec=spec)
    return made | {"apiVersion": "networking.k8s.io/v1"}


def _bindings(settings: Kubernetes) -> list[Manifest]:
    """Let the hub and control work here, and nowhere else."""
    group = "rbac.authorization.k8s.io"
    return [
        _core(
            "RoleBinding",
            role,
            roleRef={"apiGroup": group, "kind": "ClusterRole", "name": role},
            subjects=[
                {
                    "kind": "ServiceAccount",
                    "name": account,
                    "namespace": settings.release_namespace,
                }
            ],
        )
        | {"apiVersion": f"{group}/v1"}
        for role, account in (
            (settings.sessions_role, settings.hub_account),
            (settings.runs_role, settings.control_account),
        )
    ]


def _core(kind: str, name: str, **rest: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **rest}
