"""Profiles, as pods are made by them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from himalia.backends.base import Refused
from himalia.core.errors import InvalidInput
from himalia.core.model import Reason
from himalia.core.profiles import Profile, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class PodProfile:
    """What a pod gets whose run names it."""

    shown: Profile
    image: str = ""
    """Empty: that of all pods."""
    cpu_guarantee: float | None = None
    memory_guarantee_bytes: int | None = None
    gpu_kind: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()


Profiles = Callable[[str], Awaitable[Sequence[PodProfile]]]
"""Gives those that an owner may use now (:raises Unavailable: that is not known now)."""


async def no_profiles(_owner: str) -> Sequence[PodProfile]:
    """Give nobody a choice."""
    return ()


def granted(name: str, offered: Sequence[PodProfile]) -> PodProfile | None:
    """Return the profile that a run names, if it names one.

    :raises Refused: its owner may not use it any more, or it is gone.
    """
    if not name:
        return None
    known = {one.shown.name: one for one in offered}
    try:
        return known[chosen(name, (one.shown for one in offered)).name]
    except InvalidInput as error:
        reason = Reason(
            code="profile_missing",
            message=f"What the run was to be given is not open to you any more: {error.message}",
            next_step="Choose another profile for the job, or ask an admin for this one.",
        )
        raise Refused(reason) from error
