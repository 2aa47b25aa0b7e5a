"""The contract of a kind: it turns what a user asked into a plan that any backend can start.

A kind is one module with one subclass, found through the entry-point group ``himalia.kinds``.
It knows no backend, no store and no HTTP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic

from pydantic import JsonValue

from himalia.core.model import Run, Workload
from himalia.core.spec import Parameters, Resources, S, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Which files a snapshot takes, by paths relative to `folder`."""

    folder: Path
    """Absolute; links in it that lead out of it are left out."""
    files: tuple[str, ...] = ()
    """Files and folders; one that is a link may lead anywhere below `root`."""
    whole_folder: bool = False
    root: Path | None = None
    """The caller's; without it, `folder`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """All that a backend needs to start one attempt of a run."""

    runner: str
    """Module of the runner, started as ``python -m MODULE ATTEMPT_FOLDER``; a warm process may
    call its ``main([ATTEMPT_FOLDER])`` instead."""
    task: dict[str, JsonValue]
    """The runner's own input, as JSON."""
    environment: str
    """Name of the kernelspec, or absolute path of a Python environment, that user code runs in;
    empty means what the notebook itself names."""
    env: dict[str, str] = field(repr=False)
    resources: Resources
    profile: str = ""
    """By its name in the backend's list."""
    snapshot_digest: str | None
    timeout_seconds: float | None
    grace_seconds: float = 10.0
    """Between the polite request to stop and the kill."""


class Kind(ABC, Generic[S]):
    """One kind of workload."""

    name: ClassVar[str]
    """As stored and shown: ``job``."""
    collection: ClassVar[str]
    """As in REST paths: ``jobs``."""
    spec_type: type[S]
    example: S
    """A spec that is valid anywhere; the documentation and the contract tests use it."""

    @abstractmethod
    def title(self, spec: S) -> str:
        """Name a workload whose user gave no name."""

    @abstractmethod
    def check(self, spec: S, root: Path) -> Pin | None:
        """Check `spec` against the files below `root` and say what to pin. May block on disk.

        :raises InvalidInput: naming each field that is wrong: a missing file, a path or a link
            that leaves `root`, an unknown environment, an unknown parameter.
        """

    @abstractmethod
    def plan(self, workload: Workload[Spec], run: Run, resume: Path | None) -> RunPlan:
        """Turn a run into a plan; the same arguments give the same plan.

        `resume` is the outputs folder of the run that this one goes on from, if it does.
        """

    def check_parameters(
        self, workload: Workload[Spec], parameters: Parameters, files: Path | None
    ) -> None:
        """Check the parameters of one run against the pinned files in `files`. May block on disk.

        :raises InvalidInput: naming ``parameters.NAME``.
        """
