"""Whether a user's server stays, and why, in plain words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from himalia.core.team import ServerState, SessionReport
from himalia_hub.control.hub_api import HubServer

Verdict = Literal["active", "idle", "kept"]

REPORT_SECONDS = 360.0
"""For this long a report says how things are; sessions send one at least every five minutes."""
SILENT_SECONDS = 600.0
"""What a server that does not report is given beyond the time that others have: its own news of
activity reach the hub every five minutes."""
_ACTIVE_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for everybody's servers."""

    idle_seconds: float
    """0 means never."""
    max_age_seconds: float = 0.0
    """0 means never."""
    exempt_groups: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a session told, and when."""

    said: SessionReport
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a verdict goes by."""

    server: HubServer
    now: datetime
    report: Report | None = None
    running: int = 0
    groups: Collection[str] = ()

    @property
    def is_reported(self) -> bool:
        """Whether the session told lately."""
        return self.report is not None and self.now - self.report.at < timedelta(
            seconds=REPORT_SECONDS
        )

    @property
    def busy_kernels(self) -> int:
        """As told lately."""
        return self.report.said.busy_kernels if self.report and self.is_reported else 0

    @property
    def connections(self) -> int:
        """As told lately."""
        return self.report.said.connections if self.report and self.is_reported else 0

    @property
    def last(self) -> datetime:
        """When something happened last, as far as anybody knows."""
        said = self.report.said.last_activity_at if self.report is not None else None
        # A session may say anything, but not that something happens in future.
        said = min(said, self.now) if said is not None else None
        times = (self.server.last_activity, self.server.started, said)
        return max((time for time in times if time is not None), default=self.now)


def judge(facts: Facts, rules: Rules) -> ServerState:
    """Return a server's state; it is to be stopped once `stop_at` has come."""
    verdict: Verdict = "active"
    stop_at: datetime | None = None
    why = ""
    exempt = sorted(set(facts.groups) & set(rules.exempt_groups))
    keeping = _keeping(facts)
    old_at = _old_at(facts, rules)
    if exempt:
        verdict, why = "kept", f"Servers of the group {exempt[0]} are not stopped."
    elif old_at is not None and (old_at <= facts.now or keeping or not rules.idle_seconds):
        verdict, stop_at = "kept" if old_at > facts.now else "idle", old_at
        hours = rules.max_age_seconds / 3600
        why = f"{keeping} No server lives longer than {hours:g} hours here.".lstrip()
    elif keeping:
        verdict, why = "kept", keeping
    elif not rules.idle_seconds:
        verdict, why = "kept", "This hub stops no idle servers."
    else:
        verdict, stop_at, why = _idle(facts, rules)
        if old_at is not None and old_at < stop_at:
            stop_at = old_at
    server = facts.server
    return ServerState(
        name=server.name,
        url=server.url,
        started_at=server.started,
        last_activity_at=facts.last,
        busy_kernels=facts.busy_kernels,
        connections=facts.connections,
        running=facts.running,
        verdict=verdict,
        stop_at=stop_at,
        why=why,
    )


def _keeping(facts: Facts) -> str:
    """Say what keeps a server, if anything does."""
    found = []
    if facts.busy_kernels:
        found.append(_count(facts.busy_kernels, "kernel is busy", "kernels are busy"))
    if facts.running:
        found.append(_count(facts.running, "run is on", "runs are on"))
    if facts.connections:
        found.append(_count(facts.connections, "connection is open", "connections are open"))
    return f"It stays while {' and '.join(found)}." if found else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _old_at(facts: Facts, rules: Rules) -> datetime | None:
    if not rules.max_age_seconds or facts.server.started is None:
        return None
    return facts.server.started + timedelta(seconds=rules.max_age_seconds)


def _idle(facts: Facts, rules: Rules) -> tuple[Verdict, datetime, str]:
    allowed = rules.idle_seconds + (0 if facts.is_reported else SILENT_SECONDS)
    stop_at = facts.last + timedelta(seconds=allowed)
    silent = (facts.now - facts.last).total_seconds()
    if silent < min(_ACTIVE_SECONDS, rules.idle_seconds):
        return "active", stop_at, "It is in use."
    why = (
        f"Nothing has happened for {_minutes(silent)}. Servers are stopped "
        f"{_minutes(rules.idle_seconds)} after the last activity; scheduled runs go on."
    )
    return "idle", stop_at, why


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return _count(round(seconds), "second", "seconds")
    return _count(round(seconds / 60), "minute", "minutes")
