"""What control and an agent ask and answer, field by field.

An agent runs under its owner's account, so its answers are input like any other: every field has
bounds, and what lies outside of them makes the agent one that is not understood.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, JsonValue

from himalia.core.model import Reason, Status
from himalia.core.spec import Id, Model, Resources

MAX_NAMES = 10_000
"""Outputs of a run, folders of a batch, environments: more are not taken."""
MAX_EVENTS = 250_000
"""Events of a run that are read back."""
MAX_ATTEMPT = 1_000_000
_FAR = 2**53
_LONG_AGO_YEAR, _FAR_YEAR = 2000, 2200


def _shortened(limit: int) -> Callable[[str], str]:
    # NUL is what some databases refuse, and nothing else of a text harms those who keep it.
    return lambda text: text[:limit].replace("\0", "")


def _in_range(moment: AwareDatetime) -> AwareDatetime:
    if not _LONG_AGO_YEAR <= moment.year < _FAR_YEAR:
        raise ValueError("not in this age")
    return moment


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or not name.isprintable():
        raise ValueError("not the name of an output")
    return name


def _slug(text: str) -> str:
    if not text.replace("_", "a").isalnum() or not text.isascii():
        raise ValueError("not a slug")
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base 64") from error
    return text


Text = Annotated[str, AfterValidator(_shortened(20_000))]
Line = Annotated[str, AfterValidator(_shortened(1000))]
Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
Count = Annotated[int, Field(ge=0, le=_FAR)]
Amount = Annotated[float, Field(ge=0, le=1e15)]
Encoded = Annotated[str, AfterValidator(_base64)]
Digest = Annotated[str, Field(max_length=100)]


class Nothing(Model):
    """Nothing needs to be said."""


class Opening(Model):
    """The first request: where the owner's things lie, and how to deal with them."""

    state: str
    pool_size: int | None
    pool_idle_seconds: float
    runs_elsewhere: bool
    log_limit_bytes: int
    memory_bytes: int | None
    processes: int
    max_bytes: int
    max_files: int


class Hello(Model):
    """What an agent says first."""

    himalia: Line
    protocol: int


class AttemptName(Model):
    """One attempt of a run of the owner's."""

    run_id: Id
    attempt: Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]


class AttemptNames(Model):
    """Several."""

    items: tuple[AttemptName, ...]


class Conclude(AttemptName):
    """Settle how an attempt ended whose runner is elsewhere."""

    reason: Reason | None
    """Why it failed, where it did so from outside."""
    is_gone: bool
    """Nobody executes it any more; else it is settled only where nobody does yet."""


class Plan(Model):
    """A plan, as ``kinds.base.RunPlan``."""

    runner: str
    task: dict[str, JsonValue]
    environment: str
    env: dict[str, str] = Field(repr=False)
    resources: Resources
    snapshot_digest: str | None
    timeout_seconds: float | None
    grace_seconds: float


class Start(AttemptName):
    """Start it."""

    plan: Plan


class ReadLog(AttemptName):
    """Part of a log."""

    offset: int
    limit: int


class ReadEvents(AttemptName):
    """Events after a position."""

    after: int


class OpenOutput(AttemptName):
    """An output, by the name that it is listed under."""

    name: str


class Handle(Model):
    """An open output."""

    handle: Count


class Pin(Model):
    """Check a spec against files, and pin them."""

    kind: str
    spec: JsonValue
    root: str


class CheckParameters(Model):
    """Check the parameters of one run."""

    kind: str
    workload: JsonValue
    parameters: dict[str, JsonValue]


class Snapshot(Model):
    """One snapshot."""

    digest: Digest


class Needed(Model):
    """The snapshots that are needed."""

    digests: tuple[Digest, ...]


class Runs(Model):
    """The next runs after an id."""

    after: str
    limit: int


class RunName(Model):
    """One run of the owner's."""

    run_id: Id


class SaidReason(Model):
    """Why, in the agent's words."""

    code: Annotated[str, Field(max_length=60), AfterValidator(_slug)]
    message: Text
    next_step: Text = ""


class SaidProgress(Model):
    """How far."""

    done: Count
    total: Count
    current: Count | None


class SaidUse(Model):
    """What was taken."""

    cpu_seconds: Amount
    peak_memory_bytes: Count
    wall_seconds: Amount


class SaidVersions(Model):
    """What ran."""

    kernel: Line
    interpreter: Line
    packages_digest: Line
    himalia: Line


class SaidOutcome(Model):
    """How an attempt ended."""

    status: Literal[Status.SUCCEEDED, Status.FAILED, Status.STOPPED]
    reason: SaidReason | None
    use: SaidUse
    versions: SaidVersions


class Parcel(Model):
    """A snapshot or a run on its way to another owner: ``snapshots/DIGEST`` or ``runs/ID``."""

    name: Annotated[str, Field(max_length=100)]


class Put(Model):
    """The next bytes of what is being unpacked; none at the end."""

    handle: Count
    data: Encoded


class Seen(AttemptName):
    """What an agent saw of an attempt."""

    phase: Literal["absent", "starting", "running", "ended", "lost"]
    progress: SaidProgress
    started_at: Moment | None
    ended_at: Moment | None
    outcome: SaidOutcome | None
    reason: SaidReason | None


class Sight(Model):
    """What an agent saw of several."""

    items: tuple[Seen, ...]


class SaidLog(Model):
    """Part of a log."""

    data: Encoded
    offset: Count
    next_offset: Count


class SaidEvent(Model):
    """A cell began or ended."""

    index: Count
    state: Literal["running", "done", "failed"]
    at: Moment
    seconds: Amount | None
    name: Line


class SaidEvents(Model):
    """Some of them, and the position after them."""

    items: tuple[SaidEvent, ...]
    position: Annotated[int, Field(ge=0, le=MAX_EVENTS)]


class SaidOutput(Model):
    """A file that a run left."""

    name: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_relative)]
    size_bytes: Count
    media_type: Line
    role: Literal["notebook", "export", "file"]


class SaidOutputs(Model):
    """All of them."""

    items: Annotated[tuple[SaidOutput, ...], Field(max_length=MAX_NAMES)]


class Part(Model):
    """The next bytes of an output; none at its end."""

    data: Encoded


class SaidEnvironment(Model):
    """Where notebooks can run."""

    name: Line
    title: Line
    language: Line
    is_default: bool
    is_warm: bool


class SaidEnvironments(Model):
    """All of them."""

    items: Annotated[tuple[SaidEnvironment, ...], Field(max_length=MAX_NAMES)]


class SaidPool(Model):
    """What is kept ready."""

    ready: Count
    limit: Count
    memory_bytes: Count
    idle_end_at: Moment | None


NO_POOL = {"ready": 0, "limit": 0, "memory_bytes": 0, "idle_end_at": None}


class SaidSnapshot(Model):
    """What was pinned; no digest says that there was nothing to pin."""

    digest: Digest | None = None
    taken_at: Moment | None = None
    files: Count = 0
    size_bytes: Count = 0
    skipped: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()


class SaidSpec(Model):
    """A spec as it was pinned, if it was."""

    spec: dict[str, JsonValue] | None


class SaidIds(Model):
    """Ids of runs."""

    items: Annotated[tuple[Id, ...], Field(max_length=MAX_NAMES)]


class SaidNumbers(Model):
    """Numbers of attempts."""

    items: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_ATTEMPT)], ...], Field(max_length=MAX_NAMES)
    ]


class SaidCount(Model):
    """A number."""

    count: Count


class SaidProblem(Model):
    """One field and what is wrong with it."""

    field: Line
    message: Text


class SaidError(Model):
    """What went wrong, in words for the owner."""

    code: Line
    message: Text
    problems: Annotated[tuple[SaidProblem, ...], Field(max_length=1000)] = ()
