"""What the machine itself stood still, for tests of what is promised in seconds.

A process of its own looks ten times a second how late it is, in sleeping and in syncing a file, and
how many others want the processors. Nothing that happens in the tests' process can hold it up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from tests.servers import machine

_probe: _Probe | None = None


def allowed(promise_seconds: float, since_mono: float) -> float:
    """Return how long may have passed since then of what promises to be over in so many seconds.

    That is the promise, where the machine is slow as much longer as it is slower, and the time
    for which it stood still.

    :raises LookupError: nobody has looked at the machine since then.
    """
    if _probe is None:
        raise LookupError("the fixture `stalls` is not there")
    looks = _probe.since(since_mono)
    slowness = fmean(slowness for _, _, slowness in looks) if looks else 1.0
    return promise_seconds * slowness + sum(late for _, late, _ in looks)


@pytest.fixture(scope="session", autouse=True)
def stalls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look at the machine, as long as there are tests, where they have their files."""
    global _probe  # noqa: PLW0603 - there is one machine
    _probe = _Probe(tmp_path_factory.mktemp("stalls") / "looks")
    yield
    _probe.close()
    _probe = None


class _Probe:
    """The process, and what it saw."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.touch()
        command = [sys.executable, "-I", "-S", machine.__file__, str(file), str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.pid = self._process.pid

    def since(self, since_mono: float) -> list[tuple[float, float, float]]:
        """Return its looks: when each was over, how late, and how many times slower than usual."""
        assert self._process.poll() is None, "the tests' look at the machine has ended"
        looks = []
        for line in self._file.read_text().splitlines():
            ended, late, slowness = map(float, line.split())
            if ended > since_mono:
                looks.append((ended, min(late, ended - since_mono), slowness))
        # The look that is not over yet.
        now = time.monotonic()
        begun = max(since_mono, looks[-1][0] if looks else 0.0)
        if now - begun > 3 * machine.TICK_SECONDS:
            looks.append((now, now - begun - machine.TICK_SECONDS, 1.0))
        return looks

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
