"""Ends a control that an earlier hub left, before a new one takes its place."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from himalia import __version__
from himalia.control.lock import FileLock
from himalia.core.errors import Unavailable
from himalia_hub.state import State

_END_SECONDS = 12.0
"""A control that is told to end finishes its answers first."""
_KILL_SECONDS = 3.0
_SAME_SECONDS = 0.5
"""Two tellings of the same process's start differ by less."""
_log = logging.getLogger("himalia.control")


def take_over(state: State) -> FileLock:
    """Become the one control of a state folder; hold the lock until this process ends.

    :raises Unavailable: another control does not end.
    """
    lock = FileLock(state.data / "control.lock")
    if lock.take():
        return lock
    process = _find(_file(state))
    if process is not None:
        _log.info("ending the control that ran before, process %d", process.pid)
        _end(process)
    if not lock.take(_KILL_SECONDS):
        raise Unavailable(
            f"Another control works on {state.folder} and does not end. Stop it, and start the "
            "hub again."
        )
    return lock


def announce_self(state: State, url: str) -> None:
    """Write down which process control is now, for the next one."""
    said = {
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "url": url,
        "version": __version__,
        "started_at": datetime.now(UTC).isoformat(),
    }
    path = _file(state)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(said, file)
    new.replace(path)


def _file(state: State) -> Path:
    return state.data / "control.json"


def _find(path: Path) -> psutil.Process | None:
    """Return the process that a file names, if it is still that one."""
    with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
        said = json.loads(path.read_text())
        process = psutil.Process(int(said["pid"]))
        if abs(process.create_time() - float(said["process_started"])) < _SAME_SECONDS:
            return process
    return None


def _end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        with suppress(psutil.TimeoutExpired):
            process.wait(_END_SECONDS)
            return
        _log.warning("the control that ran before does not end, and is killed")
        process.kill()
        with suppress(psutil.TimeoutExpired):
            process.wait(_KILL_SECONDS)
