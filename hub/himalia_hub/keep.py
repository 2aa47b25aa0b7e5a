"""``python -m himalia_hub.keep -- COMMAND …``: keep a program running for as long as the hub lives.

A program that ends is started again, at first at once. When whoever started this is gone, however
it ended, the program is told to end too, so that the next hub starts with a new one.

This lives as long as the hub and does next to nothing, so it takes next to no memory: it needs
neither asyncio nor anything else that Python does not have built in.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence

_LOOK_SECONDS = 0.25
_END_SECONDS = 15.0
_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 5.0
"""A program that ran for this long is started again at once when it ends."""
_PR_SET_PDEATHSIG = 1


class Keeper:
    """One program that is started again whenever it ends, until we are told to end."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._name = command[command.index("-m") + 1] if "-m" in command[:-1] else command[0]
        self._parent = os.getppid()
        self._is_told = False
        # Signals end the waiting below, whenever they come.
        self._wake, written = os.pipe()
        for end in (self._wake, written):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._hear)

    def _hear(self, number: int, _frame: object) -> None:
        self._is_told = self._is_told or number != signal.SIGCHLD

    @property
    def _is_over(self) -> bool:
        return self._is_told or os.getppid() != self._parent

    def run(self) -> None:
        """Keep it running until told to end, or until whoever started this is gone."""
        failures = 0
        while not self._is_over:
            began_mono = time.monotonic()
            pid = self._start()
            status = self._await_end(pid)
            if status is None:
                _end(pid)
                return
            failures = 0 if time.monotonic() - began_mono > _STEADY_SECONDS else failures + 1
            pause = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**failures) if failures else 0.0
            _log(f"WARNING {self._name} ended ({said(status)}); it is started again")
            end_mono = time.monotonic() + pause
            while not self._is_over and time.monotonic() < end_mono:
                self._wait(end_mono - time.monotonic())

    def _start(self) -> int:
        us = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            _end_with_parent(us)
            os.execvp(self._command[0], self._command)  # noqa: S606 - what the hub's file says
        except OSError as error:
            _log(f"ERROR {self._command[0]} cannot be started: {error.strerror}")
        finally:
            os._exit(127)

    def _await_end(self, pid: int) -> int | None:
        """Return how the program ended; None where it is time that it ends."""
        while not self._is_over:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            self._wait(_LOOK_SECONDS)
        return None

    def _wait(self, seconds: float) -> None:
        if select.select([self._wake], [], [], min(seconds, _LOOK_SECONDS))[0]:
            os.read(self._wake, 512)


def _end(pid: int) -> None:
    """Ask a program to end, and make it end if it does not."""
    end_mono = time.monotonic() + _END_SECONDS
    os.kill(pid, signal.SIGTERM)
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > end_mono:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _end_with_parent(parent: int) -> None:
    """Have this new process told to end when its parent dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # noqa: PLC0415 - in the new process alone, which becomes the program

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def said(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _log(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Keep the program named on the command line running."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--"]:
        given = given[1:]
    if not given:
        sys.exit("usage: python -m himalia_hub.keep -- COMMAND …")
    Keeper(given).run()


if __name__ == "__main__":
    main()
