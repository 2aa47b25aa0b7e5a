"""What keeps a container there while control has an agent in it: ``python -m
himalia.agents.residence IDLE_SECONDS``.

Agents come in beside this process and go by themselves. When none has been there for a while, it
ends, and the container with it, whether or not control remembers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_AGENT = b"himalia.agents.agent"
_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Stay until there was no agent for long enough, or until told to end."""
    (idle,) = sys.argv[1:] if arguments is None else arguments
    # As the container's first process: it is told to end, and collects what others left.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    seen = time.monotonic()
    while time.monotonic() - seen < float(idle):
        time.sleep(_SECONDS)
        if _is_anybody_here(Path("/proc")):
            seen = time.monotonic()
    return 0


def _is_anybody_here(processes: Path) -> bool:
    """Tell whether there is an agent among the processes."""
    for folder in processes.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if _AGENT in words:
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
