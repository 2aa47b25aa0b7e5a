"""A process that looks how late it is, and how slow; :mod:`tests.servers.stalls` starts it.

Started with the file to write to and the process whose end is its own: ``python FILE PARENT``.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

TICK_SECONDS = 0.1
_TICKS_TO_SPEED = 10
_USUAL_LATE_SECONDS = 0.05
"""Of one look, with a disk that is not quick; that much is no stall."""
_ROUNDS = 200_000
_ROUNDS_SECONDS = 0.006
"""What these take of a processor that is not slow."""


def look(path: str, parent: int) -> None:
    """Write ten lines a second: when it was, by how much late, and how many times as slow."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    synced = os.open(f"{path}.synced", os.O_WRONLY | os.O_CREAT, 0o600)
    ticks, speed = 0, 1.0
    while os.getppid() == parent:
        if ticks % _TICKS_TO_SPEED == 0:
            speed = _slowness()
        ticks += 1
        begun = time.monotonic()
        time.sleep(TICK_SECONDS)
        os.pwrite(synced, b"%20.4f" % begun, 0)
        os.fsync(synced)
        now = time.monotonic()
        late = now - begun - TICK_SECONDS
        late = late if late > _USUAL_LATE_SECONDS else 0.0
        os.write(file, f"{now:.4f} {late:.4f} {speed * _crowd():.3f}\n".encode())


def _slowness() -> float:
    begun = time.process_time()
    for _ in range(_ROUNDS):
        pass
    return max(1.0, (time.process_time() - begun) / _ROUNDS_SECONDS)


def _crowd() -> float:
    """Return how many others want each processor. A look is too short to feel that itself."""
    running = re.search(r"^procs_running (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
    others = int(running[1]) - 1 if running is not None else 0
    return max(1.0, others / len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    look(sys.argv[1], int(sys.argv[2]))
