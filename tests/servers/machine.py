"""A process that looks how late it is, and how slow; :mod:`tests.servers.stalls` starts it.

Started with the file to write to and the process whose end is its own: ``python FILE PARENT``.
"""

from __future__ import annotations

import os
import sys
import time

TICK_SECONDS = 0.1
_TICKS_TO_SPEED = 10
_USUAL_LATE_SECONDS = 0.05
"""Of one look, with a disk that is not quick; that much is no stall."""
_ROUNDS = 800_000
_ROUNDS_SECONDS = 0.03
"""What these take at most on a machine that has the time."""


def look(path: str, parent: int) -> None:
    """Write ten lines a second: when it was, by how much late, and how many times as slow."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    synced = os.open(f"{path}.synced", os.O_WRONLY | os.O_CREAT, 0o600)
    ticks = 0
    while os.getppid() == parent:
        ticks += 1
        slowness = _slowness() if ticks % _TICKS_TO_SPEED == 0 else 0.0
        begun = time.monotonic()
        time.sleep(TICK_SECONDS)
        os.pwrite(synced, b"%20.4f" % begun, 0)
        os.fsync(synced)
        now = time.monotonic()
        late = now - begun - TICK_SECONDS
        late = late if late > _USUAL_LATE_SECONDS else 0.0
        os.write(file, f"{now:.4f} {late:.4f} {slowness:.3f}\n".encode())


def _slowness() -> float:
    begun = time.monotonic()
    for _ in range(_ROUNDS):
        pass
    return (time.monotonic() - begun) / _ROUNDS_SECONDS


if __name__ == "__main__":
    look(sys.argv[1], int(sys.argv[2]))
