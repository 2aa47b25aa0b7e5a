"""What a team's control knows beyond workloads: people, usage, quotas, notices, the audit log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue

from himalia.core.model import Run, Workload
from himalia.core.spec import Id, Model, Name, Spec


class Person(Model):
    """A user of the hub."""

    owner: str
    """Immutable id: what workloads belong to. A new user of the same name has another one."""
    name: str
    """At the hub."""
    groups: tuple[str, ...] = ()
    is_admin: bool = False
    first_seen_at: AwareDatetime
    last_seen_at: AwareDatetime
    gone_at: AwareDatetime | None = None
    """When the hub was found to know this user no more; what was theirs goes, or went."""


class ServerState(Model):
    """One of a person's servers, and why it lives or will be stopped."""

    name: str = ""
    """Empty for the default one."""
    url: str = ""
    started_at: AwareDatetime | None = None
    last_activity_at: AwareDatetime | None = None
    busy_kernels: int = 0
    connections: int = 0
    """Open ones: kernels' channels, terminals, event streams."""
    running: int = 0
    """Runs of its user's."""
    verdict: Literal["active", "idle", "kept"] = "active"
    stop_at: AwareDatetime | None = None
    """When it will be stopped if nothing happens."""
    why: str = ""
    """The verdict in plain words."""


class SessionReport(Model):
    """What a session tells of itself, about every half minute."""

    server_name: str = ""
    busy_kernels: Annotated[int, Field(ge=0, le=100_000)] = 0
    connections: Annotated[int, Field(ge=0, le=100_000)] = 0
    last_activity_at: AwareDatetime | None = None


class UsageEntry(Model):
    """One line of the ledger: something that was on for a time."""

    id: str
    """Of a run's attempt ``<run id>-<attempt>``; of a session ``ses-…``."""
    kind: str
    """``session``, or the workload's kind."""
    owner: str
    name: str
    """The owner's at the hub, as it was."""
    groups: tuple[str, ...] = ()
    """The owner's, as they were."""
    project: str = ""
    object_id: str
    """The run's id, or the server's name."""
    title: str = ""
    cpu: float | None = None
    """Cores asked for."""
    memory_bytes: int | None = None
    """Asked for."""
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    cpu_seconds: float = 0.0
    """Used."""
    peak_memory_bytes: int = 0


class By(StrEnum):
    """What usage is summed by."""

    OWNER = "owner"
    GROUP = "group"
    PROJECT = "project"
    KIND = "kind"


class UsageTotal(Model):
    """Usage of one owner, group, project or kind in a time. Entries that are on count until now."""

    subject: str
    name: str = ""
    entries: int
    hours: float
    """Of wall time."""
    cpu_hours: float
    """Used."""
    asked_cpu_hours: float
    asked_memory_gib_hours: float


class Quota(Model):
    """What a user may take at once and in a calendar month (UTC); None sets no limit.

    A user has their own quota or else everyone's; besides, each of their groups' quotas holds for
    all members together.
    """

    scope: Literal["everyone", "group", "user"]
    subject: Annotated[str, Field(max_length=255)] = ""
    """The group's or the user's name at the hub; empty for everyone."""
    running: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Runs at once."""
    cpu: Annotated[float, Field(ge=0)] | None = None
    """Cores of all runs at once; a run that asks for none counts as one."""
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    """Of all runs at once, as asked for."""
    run_hours: Annotated[float, Field(ge=0)] | None = None
    """Wall-clock hours of runs in a month."""


class Standing(Model):
    """How much of one quota is taken."""

    quota: Quota
    running: int
    cpu: float
    memory_bytes: int
    run_hours: float
    resets_at: AwareDatetime


class Notice(Model):
    """What an admin told everybody."""

    banner: Annotated[str, Field(max_length=2000)] = ""
    is_draining: bool = False
    """Nothing new starts; what runs goes on."""
    changed_at: AwareDatetime | None = None
    changed_by: str = ""


class AuditEntry(Model):
    """Somebody did something that is not theirs alone, or that lets people in or out."""

    id: Id
    at: AwareDatetime
    actor: str
    """Name at the hub, or ``control``."""
    action: str
    """``run.stop``, ``workload.delete``, ``person.transfer``, ``drain.start`` …"""
    owner: str = ""
    """Whose object it was."""
    name: str = ""
    """The owner's at the hub."""
    object_id: str = ""
    details: dict[str, JsonValue] = Field(default_factory=dict)


class PersonRow(Model):
    """A person in the admin's list."""

    person: Person
    servers: tuple[ServerState, ...] = ()
    running: int = 0
    queued: int = 0
    workloads: int = 0
    month_hours: float = 0.0


class RunRow(Model):
    """A run in the admin's list."""

    run: Run
    name: str
    """The owner's at the hub."""


class WorkloadRow(Model):
    """A workload in the admin's list."""

    workload: Workload[Spec]
    name: str


class Orphan(Model):
    """Something that runs and nobody owns, or is owned and gone."""

    what: Literal["attempt", "run", "person"]
    id: str
    owner: str
    name: str = ""
    why: str
    next_step: str


class Overview(Model):
    """The numbers above the admin page."""

    people: int
    servers: int
    running: int
    queued: int
    failed_day: int
    """Runs that failed in the last 24 hours."""
    schedules: int
    controls: int
    """Processes of control that are alive."""
    notice: Notice


class IsolationFinding(Model):
    """One thing that the self-test of isolation tried from a user's place."""

    name: Annotated[str, Field(max_length=100)]
    title: Annotated[str, Field(max_length=200)]
    """It, in words."""
    is_open: bool
    """Whether it was reached."""
    is_right: bool
    """Whether that is as it should be."""


class IsolationReport(Model):
    """What a self-test of isolation found."""

    findings: Annotated[tuple[IsolationFinding, ...], Field(max_length=100)] = ()
    error: Annotated[str, Field(max_length=2000)] = ""
    """Why it came to no end, if it did not."""


class Isolation(Model):
    """Whether users were found apart from each other and from the cluster, and what to do now."""

    state: Literal["none", "never", "apart", "open", "failed"] = "none"
    """``none`` where this hub is not on a cluster; ``failed`` where the last test came to no end.
    """
    checked_at: AwareDatetime | None = None
    report: IsolationReport | None = None
    next_step: str = ""


class Transfer(Model):
    """Whom workloads go to."""

    heir: Name


class AccessToken(Model):
    """A short-lived token for somebody else's service, in the name of the user."""

    access_token: str = Field(repr=False)
    audience: str
    expires_at: AwareDatetime
    scopes: tuple[str, ...] = ()


class TokenRequest(Model):
    """For whom a token is asked."""

    audience: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
