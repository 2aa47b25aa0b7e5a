"""Pods as a real cluster told of them, and made up ones for what no test can bring about.

The real ones are in ``recorded.json``, with the version of Kubernetes; ``record.py`` records them
anew.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

_WHOLE = json.loads(Path(__file__).with_name("recorded.json").read_text())
RECORDED: frozenset[str] = frozenset(_WHOLE["pods"])


def recorded(name: str) -> dict[str, Any]:
    """Return a pod as it was when something had befallen it."""
    pod: dict[str, Any] = copy.deepcopy(_WHOLE["pods"][name]["pod"])
    return pod


def events(name: str) -> list[dict[str, Any]]:
    """Return what was told of such a pod."""
    told: list[dict[str, Any]] = copy.deepcopy(_WHOLE["pods"][name]["events"])
    return told


def made_up(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a pod with a status."""
    return {"metadata": {"name": "run-0-1", "uid": "u-1", **metadata}, "status": status}


def ended(reason: str, message: str) -> dict[str, Any]:
    """Return a pod that was ended as a whole."""
    return made_up({"phase": "Failed", "reason": reason, "message": message})


def disrupted(reason: str) -> dict[str, Any]:
    """Return a pod that the cluster ended for reasons of its own."""
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": ""}
    return made_up({"phase": "Failed", "conditions": [condition]})
