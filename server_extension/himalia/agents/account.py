"""Who an owner is to the system, and where the owner's things lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system account that an owner's processes run under."""

    name: str
    home: Path
    """Absolute; the account's own."""
    uid: int | None = None
    """None for the account of this process: one person's machine."""
    gid: int | None = None
    groups: tuple[int, ...] = ()
    """Supplementary ones."""
    shell: str = "/bin/sh"

    def state(self, owner: str) -> Path:
        """Return the folder of what is kept for `owner`; an account may serve a second one later,
        who inherits nothing.
        """
        return self.home / ".himalia" / owner
