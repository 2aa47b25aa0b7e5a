"""What the notebook runner is told to do: the task of its plan, as JSON.

The kind writes it and the runner reads it, so that neither knows the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

RUNNER = "himalia.runners.notebook"
"""The module that a plan with such a task names as its runner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookTask:
    """A notebook to run, and what is kept of it.

    The environment, the environment variables and the timeout of the run stand in the plan.
    """

    notebook: str
    """Path inside the snapshot, with forward slashes."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """JSON values by name."""
    working_folder: str | None = None
    """Absolute folder the kernel starts in; without it, the folder of the notebook inside the
    attempt's own copy of the snapshot."""
    outputs: tuple[str, ...] = ()
    """Patterns of files to keep, relative to the working folder."""
    formats: tuple[str, ...] = ()
    """Names of nbconvert exporters."""
    cell_timeout_seconds: float | None = None
    resume: str | None = None
    """Absolute outputs folder of the run that this one goes on from, at its failed cell."""

    def to_json(self) -> dict[str, Any]:
        """Return the task as a plan carries it."""
        task: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        task.update(outputs=list(self.outputs), formats=list(self.formats))
        return task

    @classmethod
    def from_json(cls, task: dict[str, Any]) -> NotebookTask:
        """Read a plan's task.

        :raises ValueError: for a field that is missing or unknown.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(task) - known)
        if unknown or "notebook" not in task:
            raise ValueError(f"not a notebook task: {', '.join(unknown) or 'no notebook'}")
        given: dict[str, Any] = {**task}
        given.update({name: tuple(task[name]) for name in ("outputs", "formats") if name in task})
        return cls(**given)
