"""What every session's pod has: the settings of its safety, its volumes, its variables."""

from __future__ import annotations

from typing import Any

from himalia.core.homes import SIZE
from himalia_hub.kubernetes.bundle import CA_CONFIG, CA_FILE, CLAIM
from himalia_hub.kubernetes.settings import Kubernetes

HOME = "/home/jovyan"
_CA_FOLDER = "/etc/himalia/ca"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_SCRATCH = "2Gi"


def pod_security() -> dict[str, Any]:
    """Return what the restricted profile of Pod Security asks of a pod."""
    return {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        # A large home is not walked through at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
    }


def container_security() -> dict[str, Any]:
    """Return what the restricted profile of Pod Security asks of a container, and more."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def pod_config() -> dict[str, Any]:
    """Return the rest of a pod's specification."""
    return {
        # Otherwise a pod's variables tell of every service of its namespace.
        "enableServiceLinks": False,
        # What the server leaves behind is then waited for by somebody.
        "shareProcessNamespace": True,
    }


def volumes(settings: Kubernetes) -> list[dict[str, Any]]:
    """Return the home, a place for what may go, and certificates where the settings name them."""
    made: list[dict[str, Any]] = [
        {"name": "home", "persistentVolumeClaim": {"claimName": CLAIM}},
        {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}},
    ]
    if settings.ca_file:
        made.append({"name": "ca", "configMap": {"name": CA_CONFIG}})
    return made


def mounts(settings: Kubernetes) -> list[dict[str, Any]]:
    """Return where the volumes are found."""
    made: list[dict[str, Any]] = [
        {"name": "home", "mountPath": HOME},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
    ]
    if settings.ca_file:
        made.append({"name": "ca", "mountPath": _CA_FOLDER, "readOnly": True})
    return made


def environment(settings: Kubernetes) -> dict[str, str]:
    """Return the variables of a session."""
    made = {"HOME": HOME, "USER": "jovyan", "LOGNAME": "jovyan", "SHELL": "/bin/bash"}
    if settings.agreed_bytes is not None:
        made[SIZE] = str(settings.agreed_bytes)
    if settings.ca_file:
        made |= dict.fromkeys(_CA_VARIABLES, f"{_CA_FOLDER}/{CA_FILE}")
    return made
