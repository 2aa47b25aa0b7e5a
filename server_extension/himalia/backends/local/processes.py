"""Runner processes: started, watched to their end, and killed with all they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from himalia.core.variables import of_run
from himalia.runners.attempt import LOCK_FD, MARK, AttemptFolder, boot_id
from himalia.runners.kernel import sweep_socket_folders


def spawn(module: str, folder: AttemptFolder, lock: int) -> int:
    """Start a runner in a session of its own; return its process id.

    :raises OSError: the system has no process to give.
    """
    env = {**of_run(os.environ), LOCK_FD: str(lock)}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    console = os.open(folder.console, flags, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # Without the current folder on the path: the user's files are no modules of ours.
            [sys.executable, "-P", "-m", module, str(folder.path)],
            cwd=folder.work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(lock,),
            start_new_session=True,
        )
    finally:
        os.close(console)
    process.returncode = 0  # collected by the watch, not by the object's finaliser
    return process.pid


class Watch:
    """Calls back once when a process has ended; it need not be a child."""

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        self.pid = pid
        self._ended = ended
        self._descriptor = -1
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._descriptor = os.pidfd_open(pid)
                asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    def poll(self) -> None:
        """Look at the process, where the system does not tell by itself."""
        if self._descriptor < 0 and not _is_alive(self.pid):
            self._end()

    def _end(self) -> None:
        self.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        self._ended()

    def close(self) -> None:
        """Watch no longer."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return psutil.pid_exists(pid)


def terminate(pid: int) -> None:
    """Ask a runner to end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A runner as it described itself; its process may be gone."""

    name: str
    pid: int
    session: int
    boot: str
    """Which start of the system its numbers belong to."""


def kill_run(runner: Runner) -> None:
    """Kill a live runner and all that it started."""
    victims: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(runner.pid)
        victims = [process, *process.children(recursive=True)]
    for victim in victims:
        _kill(victim)
    sweep(runner)


def sweep(runner: Runner) -> None:
    """Kill what is left of a run whose runner is gone."""
    # The numbers mean something else after a restart, or once another process got them.
    began = time.time()
    is_own_session = runner.boot == boot_id() and not _is_alive(runner.pid)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            is_mine = process.uids().real == os.getuid() and process.pid != os.getpid()
            if not is_mine or process.create_time() > began:
                continue
            in_session = is_own_session and os.getsid(process.pid) == runner.session
            if in_session or process.environ().get(MARK) == runner.name:
                _kill(process)
    sweep_socket_folders()


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.kill()
