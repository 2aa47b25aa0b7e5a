"""What it means that the API server refuses a pod: for now, or for good."""

from __future__ import annotations

from himalia.backends.kubernetes.api import NotThere, Refusal
from himalia.core.model import Reason

_QUOTA = "exceeded quota"
_PASSING = {
    "being terminated": "Your namespace in the cluster is being deleted.",
    "error looking up service account": "Your namespace in the cluster is not ready yet.",
    # Rights come with the namespace, and are known to all of the cluster's servers a moment later.
    "cannot create resource": "Himalia may not run anything in your namespace (yet).",
}
"""What the API server says, and what it means."""


def passing(error: Refusal) -> str | None:
    """Return why a pod cannot be made yet, where it may be later."""
    if isinstance(error, NotThere):
        return "Your namespace in the cluster is not there (yet)."
    for words, meaning in _PASSING.items():
        if words in error.message:
            return meaning
    if _QUOTA in error.message:
        return f"What you run at once takes all that you may ({_after(error.message, _QUOTA)})."
    if error.status == 409:
        return f"The cluster was busy with the same: {error.message}"
    return None


def denied(error: Refusal) -> Reason:
    """Say why a run's pod will never be made."""
    if "is forbidden" in error.message and "per Container" in error.message:
        return Reason(
            code="too_much_asked",
            message=f"The run asks for more than one may have: {error.message}",
            next_step="Ask for less, or ask an admin for more.",
        )
    return Reason(
        code="pod_refused",
        message=f"The cluster refuses the run's pod: {error.message}",
        next_step="Tell an admin: this is how the cluster is set up.",
    )


def _after(text: str, words: str) -> str:
    return text.partition(words)[2].strip(" :")
