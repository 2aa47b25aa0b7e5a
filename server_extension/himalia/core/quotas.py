"""Quotas in words: which hold for whom, and what is said to those whom one stops."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from himalia.core.model import Reason
from himalia.core.team import Quota

QUOTA = "quota"
"""The code of every reason below."""
CPU_OF_ONE = 1.0
"""What a run counts for that asks for no cores."""
_ALMOST = 1e-9
"""Sums of fractions are not exact."""


def holding(
    quotas: Iterable[Quota], name: str | None, groups: Collection[str]
) -> tuple[Quota, ...]:
    """Return those that hold for a user: their own or else everyone's, and their groups'."""
    own: Quota | None = None
    everyone: Quota | None = None
    together = []
    for quota in quotas:
        if quota.scope == "user" and quota.subject == name:
            own = quota
        elif quota.scope == "everyone":
            everyone = quota
        elif quota.scope == "group" and quota.subject in groups:
            together.append(quota)
    single = own or everyone
    return (*((single,) if single is not None else ()), *together)


def month_after(moment: datetime) -> datetime:
    """Return when the calendar month after a time's begins, in UTC."""
    there = moment.astimezone(UTC)
    return datetime(there.year + there.month // 12, there.month % 12 + 1, 1, tzinfo=UTC)


def refusal_of_month(quota: Quota, run_hours: float, now: datetime) -> Reason | None:
    """Return why nothing may start any more in this month, if so."""
    if quota.run_hours is None or run_hours + _ALMOST < quota.run_hours:
        return None
    return Reason(
        code=QUOTA,
        message=f"{_whose(quota)} allows {quota.run_hours:g} run hours a month, and this month's "
        "are used up.",
        next_step=f"They begin anew on {month_after(now):%Y-%m-%d} at 00:00 UTC; an admin can "
        "raise the quota before.",
    )


def refusal_at_once(quota: Quota, running: int, cpu: float, memory_bytes: int) -> Reason | None:
    """Return why this much may not be on at once, if so."""
    if quota.running is not None and running > quota.running:
        what = _count(quota.running, "run")
    elif quota.cpu is not None and cpu > quota.cpu + _ALMOST:
        what = _count(quota.cpu, "core")
    elif quota.memory_bytes is not None and memory_bytes > quota.memory_bytes:
        what = f"{_size(quota.memory_bytes)} of memory"
    else:
        return None
    return Reason(
        code=QUOTA,
        message=f"{_whose(quota)} allows {what} at once, and all of it is taken.",
        next_step="It starts by itself when others have ended.",
    )


def exceeds(quota: Quota, cpu: float, memory_bytes: int) -> tuple[str, Reason] | None:
    """Return the resource that one run alone takes too much of, and that in words."""
    if quota.running == 0:
        return "running", _never(f"{_whose(quota)} allows no runs.", "Ask an admin to raise it.")
    if quota.cpu is not None and cpu > quota.cpu + _ALMOST:
        what, of = _count(quota.cpu, "core"), f"asks for {cpu:g}"
        resource = "cpu"
    elif quota.memory_bytes is not None and memory_bytes > quota.memory_bytes:
        what, of = f"{_size(quota.memory_bytes)} of memory", f"asks for {_size(memory_bytes)}"
        resource = "memory_bytes"
    else:
        return None
    told = f"{_whose(quota)} allows {what} at once, and this run alone {of}."
    return resource, _never(told, "Ask for less, or ask an admin to raise the quota.")


def _never(message: str, next_step: str) -> Reason:
    return Reason(code=QUOTA, message=message, next_step=next_step)


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _whose(quota: Quota) -> str:
    if quota.scope == "group":
        return f"The quota of group {quota.subject!r}, for all its members together,"
    return "Your quota"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.3g} GiB"
