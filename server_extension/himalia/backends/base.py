"""The contract of a backend: it starts plans, and knows nothing of kinds, the store or HTTP.

An attempt has a deterministic name, so every operation can be repeated after a crash, by another
process, without knowing how far the first one came. An attempt outlives the process that started
it; a backend made anew finds it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from himalia.core.errors import HimaliaError
from himalia.core.model import (
    CellEvent,
    Environment,
    Output,
    PoolStatus,
    Progress,
    Reason,
    ResourceUse,
    Status,
    Versions,
)
from himalia.core.names import attempt_name
from himalia.core.profiles import Profile
from himalia.kinds.base import RunPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRef:
    """One attempt of one run."""

    owner: str
    run_id: str
    attempt: int

    @property
    def name(self) -> str:
        """The attempt's name at the backend."""
        return attempt_name(self.run_id, self.attempt)


class Phase(StrEnum):
    """Where an attempt is."""

    ABSENT = "absent"
    """Never started, or removed: starting it is safe."""
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    """It left an outcome."""
    LOST = "lost"
    """It was started and is gone without an outcome; it will never write one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended, in its runner's own words."""

    status: Literal[Status.SUCCEEDED, Status.FAILED, Status.STOPPED]
    reason: Reason | None
    use: ResourceUse
    versions: Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of an attempt. `outcome` is set when it has ended; `reason` may explain why
    an attempt has not started yet, or why it was lost.
    """

    phase: Phase
    progress: Progress = Progress()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPart:
    """Bytes of a log; `offset` counts those that rotation dropped."""

    data: bytes
    offset: int
    next_offset: int


class Refused(HimaliaError):
    """An attempt cannot be started, and trying again would not help."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Backend(ABC):
    """Where attempts run."""

    name: ClassVar[str]

    @abstractmethod
    async def open(self) -> None:
        """Get ready; find the attempts that are still there."""

    @abstractmethod
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        """Start an attempt. Starting one that was started, by whomever, does nothing.

        Returns when the attempt will be found by `observe`, now and after a crash. At most one
        process ever executes an attempt.

        :raises Unavailable: not now, for a passing cause (no disk space, no process).
        :raises Refused: nor later; the run fails with what it says.
        """

    @abstractmethod
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        """Return what is known of each of `refs`; one that cannot be asked now is left out."""

    def silence(self, owner: str) -> str:  # noqa: ARG002
        """Say why an owner's attempts could not be asked when that was last tried; may be empty."""
        return ""

    @abstractmethod
    async def changes(self) -> frozenset[str] | None:
        """Return when something observed may have changed since the last call: the owners of whose
        attempts, or None where it may be anybody's.
        """

    @abstractmethod
    async def stop(self, ref: AttemptRef) -> None:
        """Ask an attempt to end within its grace time, then kill it with all it started.

        Returns at once; the end is observed. Does nothing to an attempt that is not running; one
        that was not started yet will never start.
        """

    @abstractmethod
    async def remove(self, ref: AttemptRef) -> None:
        """Delete what an attempt left. It must have ended, been lost or never been started."""

    @abstractmethod
    async def log(self, ref: AttemptRef, *, offset: int, limit: int) -> LogPart:
        """Return part of the log; a negative offset counts from its end."""

    @abstractmethod
    async def events(self, ref: AttemptRef, *, after: int) -> tuple[tuple[CellEvent, ...], int]:
        """Return some events after position `after`, and the position after them; 0 is the first
        position, and one that stays the same says that there are no more by now.
        """

    @abstractmethod
    async def outputs(self, ref: AttemptRef) -> tuple[Output, ...]:
        """Return the complete files that the attempt left so far, the notebook first."""

    @abstractmethod
    def read_output(self, ref: AttemptRef, name: str) -> AsyncIterator[bytes]:
        """Yield an output's bytes.

        :raises NotFound: at the first step, for a name that `outputs` does not have.
        """

    @abstractmethod
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        """Return the attempts that somebody executes for an owner, known to the store or not.

        Where all owners share one place, those of everybody.
        """

    @abstractmethod
    async def environments(self, owner: str) -> tuple[Environment, ...]:
        """Return where an owner's code can run, the default first."""

    async def profiles(self, owner: str) -> tuple[Profile, ...]:  # noqa: ARG002
        """Return what an owner may choose to give a run; nothing where there is no choice."""
        return ()

    @abstractmethod
    async def pool(self, owner: str) -> PoolStatus | None:
        """Return what is kept ready for an owner, if anything is."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; attempts go on."""
