"""What the last self-test of isolation means for an admin, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from himalia.core.team import Isolation, IsolationReport

_NEVER = "Nobody tried it yet. Run: {command}"
_APART = "Run it again after each change of the cluster's network: {command}"
_OPEN = (
    "Users may reach what is not theirs. See that the cluster's network plug-in enforces "
    "NetworkPolicies and that no setting opens what is named here, then run: {command}"
)
_FAILED = "The test came to no end, so nothing is known. See to what it says, then run: {command}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A report, and when it came."""

    at: datetime
    report: IsolationReport


def judged(checked: Checked | None, command: str) -> Isolation:
    """Return what an admin is told; `command` runs the test, and is empty where there is none."""
    if not command:
        return Isolation()
    if checked is None:
        return Isolation(state="never", next_step=_NEVER.format(command=command))
    report = checked.report
    told = {"checked_at": checked.at, "report": report}
    if report.error or not report.findings:
        return Isolation(state="failed", next_step=_FAILED.format(command=command), **told)
    if all(finding.is_right for finding in report.findings):
        return Isolation(state="apart", next_step=_APART.format(command=command), **told)
    return Isolation(state="open", next_step=_OPEN.format(command=command), **told)


def noted(report: IsolationReport) -> Mapping[str, JsonValue]:
    """Return what the audit log says of a report."""
    wrong: list[JsonValue] = [one.name for one in report.findings if not one.is_right]
    said: dict[str, JsonValue] = {"tried": len(report.findings), "wrong": wrong}
    return said | ({"error": report.error} if report.error else {})
