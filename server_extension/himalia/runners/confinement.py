"""What holds a run's processes: limits, and an end that takes all of them along."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass

_IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_DATA_HEADROOM = 256 * 2**20
"""Stacks and arenas that a process asks for and hardly touches."""
_OOM_SCORE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a kernel may take."""

    memory_bytes: int | None = None
    cpu: float | None = None
    processes: int | None = None

    def environment(self) -> dict[str, str]:
        """Return variables that keep numeric libraries within the cores."""
        if self.cpu is None:
            return {}
        count = str(max(1, math.ceil(self.cpu)))
        names = (
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "NUMEXPR_MAX_THREADS",
        )
        return dict.fromkeys(names, count)

    def apply(self) -> None:
        """Confine this process and all that it starts."""
        _lower(resource.RLIMIT_CORE, 0)
        if self.memory_bytes is not None and _IS_LINUX:
            # Not RLIMIT_AS: CUDA, Julia and Java reserve address space that they never use.
            _lower(resource.RLIMIT_DATA, self.memory_bytes + _DATA_HEADROOM)
        if self.processes is not None:
            _lower(resource.RLIMIT_NPROC, self.processes)
        if _IS_LINUX:
            self._apply_on_linux()

    def _apply_on_linux(self) -> None:
        # When memory runs out, the system takes the notebook before the service.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(str(_OOM_SCORE))
        if self.cpu is not None:
            cores = sorted(os.sched_getaffinity(0))
            wanted = min(len(cores), max(1, math.ceil(self.cpu)))
            chosen = random.Random(os.getpid()).sample(cores, wanted)  # noqa: S311 - spreads load
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, chosen)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if _IS_LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when `parent`, which forked it, ends."""
    if not _IS_LINUX:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def end_children() -> None:
    """Kill every descendant of this process, until none is left."""
    import psutil  # noqa: PLC0415 - only where something was left behind

    me = psutil.Process()
    for _ in range(100):
        if not _reap():
            return
        for child in me.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _reap() -> bool:
    """Collect ended children; tell whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (value, value))


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
