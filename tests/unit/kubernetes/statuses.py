"""Statuses of pods as a cluster told them, by what had happened to the pods."""

from __future__ import annotations

from typing import Any

IMAGE = "registry.example/session@sha256:00"


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a pod with a status."""
    about = {"name": "run-0-1", "uid": "u-1", "resourceVersion": "10", **metadata}
    return {"metadata": about, "status": status, "spec": {}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """Return a pending pod whose container waits."""
    state = {"waiting": {"reason": reason, "message": message}}
    return pod({"phase": "Pending", "containerStatuses": [{"image": IMAGE, "state": state}]})


def unscheduled(message: str) -> dict[str, Any]:
    """Return a pod that no node takes."""
    return pod(
        {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": message,
                }
            ],
        }
    )


def terminated(reason: str, code: int, message: str = "", **status: Any) -> dict[str, Any]:
    """Return a pod whose container has ended."""
    state = {"terminated": {"reason": reason, "exitCode": code, "message": message}}
    return pod(
        {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"state": state}]}
        | status
    )


def disrupted(reason: str, message: str = "") -> dict[str, Any]:
    """Return a pod that the cluster ended for reasons of its own."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return terminated("Error", 1, conditions=[condition])


def ended(reason: str, message: str) -> dict[str, Any]:
    """Return a pod that was ended as a whole."""
    return pod({"phase": "Failed", "reason": reason, "message": message})
