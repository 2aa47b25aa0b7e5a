"""The warm process: ``python -m himalia.runners.pool DESCRIPTOR SIZE IDLE_SECONDS``.

It has imported once what every run of a notebook needs, and forks runners with their kernels from
there, a few of them ahead. It has no thread and no socket of ZeroMQ: those begin in the forks. It
ends when nobody asked for a while, or when the backend that started it is gone.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from himalia.runners.kernel import sweep_socket_folders

_MESSAGE = 65_536
_MAX_FAILURES = 5
PAIR = b"pair"
"""Asks for a pair; any other message asks for the status."""


@dataclass(slots=True)
class _Pair:
    pid: int
    channel: socket.socket
    is_ready: bool = False


@dataclass(slots=True)
class Pool:
    """Serves one backend, over one socket that carries messages and descriptors."""

    backend: socket.socket
    size: int
    idle_seconds: float
    pairs: list[_Pair] = field(default_factory=list)
    asked_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    waker: tuple[socket.socket, ...] = ()
    """Made readable by the end of a child."""

    def serve(self) -> None:
        """Serve until nobody asks any more."""
        self.waker = waker, wakes = socket.socketpair()
        for end in self.waker:
            end.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while self.failures < _MAX_FAILURES:
            if len(self.pairs) < self.size:
                self._fork()
            left = self.asked_at + self.idle_seconds - time.monotonic()
            if left <= 0:
                return
            sources = [self.backend, waker, *(pair.channel for pair in self.pairs)]
            is_full = len(self.pairs) >= self.size
            readable, _, _ = select.select(sources, [], [], left if is_full else 0)
            if self.backend in readable and not self._answer():
                return
            if waker in readable:
                waker.recv(_MESSAGE)
                _reap()
            for pair in [pair for pair in self.pairs if pair.channel in readable]:
                self._hear(pair)

    def _answer(self) -> bool:
        """Do what the backend asks; tell whether it is still there."""
        message = self.backend.recv(_MESSAGE)
        if message == PAIR:
            self.asked_at = time.monotonic()
            self._give()
        elif message:
            status = {
                "ready": sum(pair.is_ready for pair in self.pairs),
                "idle_seconds": self.asked_at + self.idle_seconds - time.monotonic(),
            }
            self.backend.send(json.dumps(status).encode())
        return bool(message)

    def _give(self) -> None:
        """Give a pair away, by the socket that it listens on; whoever has that has the pair."""
        if not self.pairs:
            self._fork()
        # One that is ready; else the one that was forked first.
        pair = max(self.pairs, key=lambda pair: pair.is_ready)
        self.pairs.remove(pair)
        answer = json.dumps({"pid": pair.pid}).encode()
        socket.send_fds(self.backend, [answer], [pair.channel.fileno()])
        pair.channel.close()

    def _fork(self) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            its.close()
            self.pairs.append(_Pair(pid, mine))
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for channel in (self.backend, *self.waker, mine, *(pair.channel for pair in self.pairs)):
            channel.close()
        from himalia.runners.pair import run_pair  # noqa: PLC0415 - imported below

        run_pair(its)

    def _hear(self, pair: _Pair) -> None:
        if pair.channel.recv(_MESSAGE):
            pair.is_ready = True
            self.failures = 0
            return
        pair.channel.close()
        self.pairs.remove(pair)
        self.failures += 1


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _warm_up() -> None:
    """Import all that a runner and a kernel need, and nothing that starts a thread."""
    from himalia.runners.document import prepare_nbformat  # noqa: PLC0415

    prepare_nbformat()
    import psutil  # noqa: F401, PLC0415

    import himalia.runners.execution  # noqa: PLC0415
    import himalia.runners.own_kernel  # noqa: PLC0415
    import himalia.runners.pair  # noqa: PLC0415
    import himalia.runners.versions  # noqa: F401, PLC0415

    # What is here stays; a collection in a fork would copy the pages of all of it.
    gc.collect()
    gc.freeze()


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the warm process."""
    descriptor, size, idle_seconds = sys.argv[1:] if arguments is None else arguments
    if sys.path[0] == str(Path.cwd()):
        # Where this happened to start is no place for the kernels' modules.
        sys.path.pop(0)
    backend = socket.socket(fileno=int(descriptor))
    _warm_up()
    sweep_socket_folders()
    backend.send(b"{}")
    Pool(backend, int(size), float(idle_seconds)).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
