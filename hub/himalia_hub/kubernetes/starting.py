"""Why a pod does not run yet, in words that its user can act on. Nothing here asks anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ADMIN = "Please tell whoever looks after this hub."
_CONTAINER = "notebook"
_BAD_IMAGE = re.compile(
    r"not found|does not exist|manifest unknown|denied|unauthorized|no basic auth|invalid|"
    r"403|401",
    re.IGNORECASE,
)
_LACKING = re.compile(r"Insufficient ([a-z0-9./-]*[a-z0-9])")
_QUOTA = re.compile(r"exceeded quota: [^,]+, requested: (.+?), used: (.+?), limited:")
_NAMES = {
    "cpu": "cores",
    "memory": "memory",
    "ephemeral-storage": "disk space",
    "pods": "room for another pod",
}

_TOLD = {
    "Scheduled": "A machine was found for your server.",
    "TriggeredScaleUp": (
        "Another machine is being started for your server: this takes some minutes."
    ),
    "NotTriggerScaleUp": "No machine that the cluster may add would be large enough.",
    "Pulling": "The machine fetches the image of your server; the first time takes longest.",
    "Pulled": "The image is there.",
    "Started": "Your server starts.",
}
_UNREACHABLE = ("FailedMount", "FailedAttachVolume")

Pod = Mapping[str, Any]
Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What keeps a pod from running."""

    text: str
    is_final: bool = False
    """Whether waiting longer would not help."""
    ended: str = ""
    """How the server itself ended, if it did: its log says why."""


def look(pod: Pod | None, events: Iterable[Event] = ()) -> Verdict | None:
    """Say what keeps a pod from running; None where nothing does, or nobody knows yet."""
    if pod is None:
        return None
    if "deletionTimestamp" in pod["metadata"]:
        return Verdict(text="Your server was stopped from outside while it started.", is_final=True)
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and not status.get("containerStatuses"):
        return Verdict(text=_failed(status), is_final=True)
    for one in status.get("containerStatuses", []):
        if one["name"] == _CONTAINER and (found := _container(one, pod)) is not None:
            return found
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Verdict(text=_unschedulable(condition.get("message", ""), pod))
    return _mounting(events)


def told(event: Event) -> str | None:
    """Say what an event means for who waits; None where it means nothing to them."""
    reason, message = event.get("reason"), str(event.get("message", ""))
    if reason in _TOLD:
        return _TOLD[reason]
    if reason == "FailedScheduling":
        return _unschedulable(message, None)
    if reason in _UNREACHABLE:
        return _mount(message)
    if reason in {"Failed", "BackOff"} and "image" in message.lower():
        return f"The image cannot be fetched: {_short(message)}"
    if reason in {"Preempted", "Evicted"}:
        return f"The machine had to give your server up: {_short(message)}"
    return None


def lacks_rights(status: int | None, message: str) -> bool:
    """Tell whether the cluster refused who asked, and not what was asked for."""
    return status == 403 and "is forbidden: User" in message


def refused(status: int | None, message: str) -> str:
    """Say why the cluster did not take the pod."""
    if found := _QUOTA.search(message):
        return (
            f"What you run together may not take more: this server asks for {found[1]}, and "
            f"{found[2]} is in use. Stop another server or some jobs, or choose a smaller profile."
        )
    if "violates PodSecurity" in message:
        return (
            "The cluster's rules for safety do not let your server start as it is set up. "
            f"{_ADMIN} It says: {_short(message)}"
        )
    if lacks_rights(status, message):
        return (
            f"The hub may not start servers in your namespace. {_ADMIN} Next step for them: see "
            "that the roles of its chart are installed as they are."
        )
    if "maximum" in message and "per Container" in message:
        return f"This server asks for more than one may have: {_short(message)}"
    if status in {400, 403, 422}:
        return f"The cluster refuses your server. {_ADMIN} It says: {_short(message)}"
    return "The cluster does not answer just now. Start your server again in a moment."


def _container(one: Mapping[str, Any], pod: Pod) -> Verdict | None:
    state = one.get("state", {})
    ended = state.get("terminated") or one.get("lastState", {}).get("terminated")
    if ended:
        if ended.get("reason") == "OOMKilled":
            return Verdict(
                text=(
                    "Your server took more memory than it may have "
                    f"({_asked(pod, 'limits').get('memory', 'the limit')}), and was ended. Choose "
                    "a larger profile, or see what runs when it starts."
                ),
                is_final=True,
            )
        how = f"status {ended.get('exitCode')}"
        return Verdict(text="Your server ended while it started.", is_final=True, ended=how)
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}:
        is_final = reason not in {"ErrImagePull", "ImagePullBackOff"} or bool(
            _BAD_IMAGE.search(message)
        )
        return Verdict(
            text=(
                f"The image of your server, {one.get('image', '')}, cannot be fetched. Choose "
                f"another one, or: {_ADMIN} The machine says: {_short(message) or reason}"
            ),
            is_final=is_final,
        )
    if reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
        return Verdict(
            text=f"Your server cannot be started. {_ADMIN} The machine says: {_short(message)}",
            is_final=True,
        )
    return None


def _failed(status: Mapping[str, Any]) -> str:
    said = _short(str(status.get("message", ""))) or status.get("reason", "no reason")
    return f"The cluster ended your server before it ran: {said} Start it again."


def _unschedulable(message: str, pod: Pod | None) -> str:
    if "unbound immediate PersistentVolumeClaims" in message or "persistentvolumeclaim" in message:
        return f"Your home is not ready: its volume was not made yet. If that lasts: {_ADMIN}"
    lacking = list(dict.fromkeys(_LACKING.findall(message)))
    if lacking:
        names = " and ".join(_NAMES.get(one, one) for one in lacking)
        asked = _asked(pod, "requests") if pod is not None else {}
        wants = ", ".join(f"{value} {name}" for name, value in asked.items() if name in lacking)
        wish = f" It asks for {wants}." if wants else ""
        return (
            f"No machine has enough {names} for your server just now.{wish} It starts when there "
            "is; a smaller profile may start at once."
        )
    if "node affinity" in message or "node selector" in message or "taint" in message:
        return (
            "No machine of the kind that your server asks for is there, or free for it. Choose "
            f"another profile, or: {_ADMIN}"
        )
    return f"No machine was found for your server yet. The cluster says: {_short(message)}"


def _mounting(events: Iterable[Event]) -> Verdict | None:
    last: Event | None = None
    for event in events:
        if event.get("reason") in _UNREACHABLE:
            last = event
        elif event.get("reason") in {"Pulling", "Pulled", "Created", "Started"}:
            last = None
    return None if last is None else Verdict(text=_mount(str(last.get("message", ""))))


def _mount(message: str) -> str:
    return f"Your home cannot be reached. {_ADMIN} The machine says: {_short(message)}"


def _asked(pod: Pod, which: str) -> dict[str, str]:
    for container in pod.get("spec", {}).get("containers", []):
        if container["name"] == _CONTAINER:
            return dict(container.get("resources", {}).get(which, {}))
    return {}


def _short(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= 300 else f"{text[:300]}…"
