"""What a pod's state means for its attempt, in plain words: pure functions, no effects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from himalia.core.model import Reason

_OVER = frozenset({"Succeeded", "Failed"})
_NO_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
    }
)
_NO_CONTAINER = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_NO_VOLUME = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_NO_SANDBOX = frozenset({"FailedCreatePodSandBox"})
_ROOM = "It waits until there is room. If that takes too long, ask for less, or ask an admin."
_TELL = "If it stays so, tell an admin."
_AGAIN = "It is tried again by itself."
_SOON = "It is tried again by itself as soon as its pod is gone, which takes some minutes at most."
_STALE_SECONDS = 90.0
"""A pod that was told to end is gone so long after its grace, unless its node is out of touch."""

_DISRUPTIONS = {
    "EvictionByEvictionAPI": ("evicted", "The machine that it ran on is being emptied."),
    "PreemptionByScheduler": ("preempted", "It had to make room for something more important."),
    "DeletionByTaintManager": ("node_gone", "The machine that it ran on is not to be used now."),
    "DeletionByPodGC": ("node_gone", "The machine that it ran on is gone."),
    "TerminationByKubelet": ("evicted", "The machine that it ran on ended it."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why an attempt is executed no more."""

    reason: Reason
    is_final: bool = False
    """Trying it again would end in the same way."""


def is_over(pod: dict[str, Any], now: datetime) -> bool:
    """Tell whether nothing in a pod runs any more, or ever will again as far as can be known."""
    if pod.get("status", {}).get("phase") in _OVER:
        return True
    ends = _time(pod["metadata"].get("deletionTimestamp"))
    # The time of deletion has the grace in it. A node that is out of touch never confirms.
    return ends is not None and (now - ends).total_seconds() > _STALE_SECONDS


def why_waiting(pod: dict[str, Any], events: Sequence[dict[str, Any]] = ()) -> Reason | None:
    """Say what keeps a pod from running, if it does not run and that is known."""
    status = pod.get("status", {})
    if status.get("phase") not in (None, "Pending"):
        return None
    for condition in _conditions(pod):
        is_refused = condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        if is_refused:
            return _unscheduled(str(condition.get("message") or ""))
    for container in status.get("containerStatuses") or ():
        found = _waiting((container.get("state") or {}).get("waiting") or {}, container)
        if found is not None:
            return found
    return _from_events(events)


def _waiting(waiting: dict[str, Any], container: dict[str, Any]) -> Reason | None:
    reason, message = str(waiting.get("reason") or ""), _line(waiting.get("message"))
    if reason in _NO_IMAGE:
        name = _line(container.get("image"))
        return Reason(
            code="image_missing",
            message=f"The image {name} cannot be fetched: {message or reason}",
            next_step=f"Choose another image, or tell an admin that this one is missing. {_AGAIN}",
        )
    if reason in _NO_CONTAINER:
        return Reason(
            code="container_refused",
            message=f"The machine cannot start it: {message or reason}",
            next_step=_TELL,
        )
    return None


def _unscheduled(message: str) -> Reason:
    text = _line(message)
    if "persistentvolumeclaim" in text.lower():
        return Reason(
            code="volume_missing",
            message=f"Your files cannot be mounted yet: {text}",
            next_step=_TELL,
        )
    lacks = sorted(set(re.findall(r"Insufficient ([\w./-]*\w)", text)))
    what = f" ({', '.join(lacks)} is what lacks)" if lacks else ""
    return Reason(
        code="unschedulable",
        message=f"No machine has room for it{what}: {text}",
        next_step=_ROOM,
    )


def _from_events(events: Sequence[dict[str, Any]]) -> Reason | None:
    """Return what the last warning tells that explains a wait."""
    for event in sorted(events, key=_when, reverse=True):
        reason, text = event.get("reason"), _line(event.get("message"))
        if event.get("type") != "Warning":
            continue
        if reason in _NO_VOLUME:
            return Reason(
                code="volume_missing",
                message=f"Your files cannot be mounted yet: {text}",
                next_step=_TELL,
            )
        if reason in _NO_SANDBOX:
            return Reason(
                code="container_refused",
                message=f"The machine cannot start it yet: {text}",
                next_step=_TELL,
            )
    return None


def why_ending(pod: dict[str, Any]) -> Reason | None:
    """Say why a pod that runs will not for long, where that is the cluster's doing."""
    return _disruption(pod, _SOON) if pod["metadata"].get("deletionTimestamp") else None


def _disruption(pod: dict[str, Any], next_step: str) -> Reason | None:
    for condition in _conditions(pod):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            code, text = _DISRUPTIONS.get(
                str(condition.get("reason")), ("evicted", "The cluster ended its pod.")
            )
            words = f"{text} {_line(condition.get('message'))}".strip()
            return Reason(code=code, message=words, next_step=next_step)
    return None


def why_gone(pod: dict[str, Any] | None) -> Verdict:
    """Say why an attempt is executed no more that left no result; None is a pod of which nothing
    is known but that it is not there.
    """
    if pod is None:
        return Verdict(reason=_lost("pod_gone", "Its pod is gone."))
    status = pod.get("status", {})
    container = _terminated(status)
    found = _killed_by(status, container)
    if found is not None:
        return found
    disruption = _disruption(pod, _AGAIN)
    if disruption is not None:
        return Verdict(reason=disruption)
    if container is not None:
        return Verdict(reason=_exited(container))
    if pod["metadata"].get("deletionTimestamp"):
        return Verdict(reason=_lost("pod_gone", "Its pod was deleted."))
    text = _line(status.get("message")) or _line(status.get("reason")) or "nobody knows why"
    return Verdict(reason=_lost("pod_gone", f"Its pod ended: {text}"))


def _killed_by(status: dict[str, Any], container: dict[str, Any] | None) -> Verdict | None:
    """Say what ended a pod where it is plain."""
    text = _line(status.get("message"))
    match status.get("reason"):
        case "Evicted":
            reason = _lost("evicted", f"The machine that it ran on ended it: {text}")
            return Verdict(reason=reason)
        case "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" | "NodeAffinity":
            reason = _lost("node_gone", f"The machine that it ran on is gone: {text}")
            return Verdict(reason=reason)
        case "DeadlineExceeded":
            return Verdict(reason=_LATE, is_final=True)
    cause = None if container is None else container.get("reason")
    if container is None or cause not in {"OOMKilled", "ContainerCannotRun", "StartError"}:
        return None
    return Verdict(reason=_OOM if cause == "OOMKilled" else _unfit(container), is_final=True)


_LATE = Reason(
    code="timed_out",
    message="The run took longer than its timeout, and did not end by itself.",
    next_step="Give the job a longer timeout, or make the notebook do less.",
)
_OOM = Reason(
    code="out_of_memory",
    message="The machine ended the run: it took more memory than it may.",
    next_step="Load less data at once, or give the job more memory.",
)


def _unfit(container: dict[str, Any]) -> Reason:
    return Reason(
        code="container_refused",
        message=f"What runs notebooks is not in the image: {_line(container.get('message'))}",
        next_step="Choose another image, or tell an admin.",
    )


def _exited(container: dict[str, Any]) -> Reason:
    code = container.get("exitCode")
    words = f"The runner ended with exit code {code} and left no result."
    last = str(container.get("message") or "").strip().splitlines()[-1:]
    if last:
        words += f" Its last words: {_line(last[0])}"
    return _lost("attempts_lost", words)


def _lost(code: str, message: str) -> Reason:
    return Reason(code=code, message=message, next_step=_AGAIN)


def _terminated(status: dict[str, Any]) -> dict[str, Any] | None:
    for container in status.get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if state.get("terminated"):
                found: dict[str, Any] = state["terminated"]
                return found
    return None


def _conditions(pod: dict[str, Any]) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = pod.get("status", {}).get("conditions") or ()
    return found


def _line(message: object) -> str:
    """Return a message as one line of bounded length."""
    text = " ".join(str(message or "").split())
    return text if len(text) <= 400 else f"{text[:399]}…"


def _when(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
