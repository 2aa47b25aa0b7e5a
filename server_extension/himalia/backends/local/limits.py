"""What this machine gives to each run."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
from pydantic import JsonValue

from himalia.core.spec import Resources

_SHARE_OF_MEMORY = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLimits:
    """Bounds of each run."""

    memory_bytes: int | None = None
    """Of one run with all its processes; four fifths of the machine's when not given."""
    processes: int = 1024
    """Of one run."""

    def of_run(self, resources: Resources) -> dict[str, JsonValue]:
        """Return what one run may take, as its plan carries it."""
        own = self.memory_bytes or int(psutil.virtual_memory().total * _SHARE_OF_MEMORY)
        return {
            "memory_bytes": min(resources.memory_bytes or own, own),
            "memory_asked": resources.memory_bytes is not None,
            "cpu": resources.cpu,
            "processes": self.processes,
        }
