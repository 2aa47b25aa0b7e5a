"""The backend's side of the warm process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from himalia.core.model import PoolStatus
from himalia.core.variables import of_run
from himalia.runners.attempt import AttemptFolder
from himalia.runners.pool import PAIR

_MESSAGE = 65_536
_WARM_SECONDS = 8.0
"""Longer than it takes the process to come up, even on a busy machine."""
_ANSWER_SECONDS = 5.0
_IS_POSSIBLE = sys.platform == "linux"
"""Elsewhere a fork without exec is not safe, or the sockets have no message boundaries."""


class Pool:
    """Starts the warm process when there is something to run, and hands attempts to it.

    Every method blocks; threads may call them at once.
    """

    def __init__(self, size: int, idle_seconds: float) -> None:
        self.size = size if _IS_POSSIBLE else 0
        self._idle_seconds = idle_seconds
        self._channel: socket.socket | None = None
        self._pid = 0
        self._is_warm = False
        self._lock = threading.Lock()

    def start(self, folder: AttemptFolder, lock: int) -> int | None:
        """Hand an attempt over and return its runner's process id, or None if that cannot be.

        The first time it only begins to warm up: the caller starts that attempt by itself.
        """
        if not self.size:
            return None
        with self._lock:
            if self._channel is None:
                self._launch()
                return None
            return self._hand_over(folder, lock) if self._await_warmth() else None

    def _hand_over(self, folder: AttemptFolder, lock: int) -> int | None:
        """Give an attempt to a pair, which has the lock from then on."""
        answer, pair = self._ask(PAIR)
        if answer is None or pair is None:
            return None
        with pair:
            try:
                socket.send_fds(pair, [os.fsencode(folder.path)], [lock])
            except OSError:
                return None
        return int(answer["pid"])

    def warm_up(self) -> None:
        """Begin to warm up, unless that was begun."""
        with self._lock:
            if self.size and self._channel is None:
                self._launch()

    def status(self) -> PoolStatus:
        """Return what is kept ready, and what it weighs."""
        with self._lock:
            answer = None
            if self._is_warm:
                answer, _ = self._ask(b"status")
        if answer is None:
            return PoolStatus(ready=0, limit=self.size, memory_bytes=_weight(self._pid))
        return PoolStatus(
            ready=answer["ready"],
            limit=self.size,
            memory_bytes=_weight(self._pid),
            idle_end_at=datetime.now(UTC) + timedelta(seconds=answer["idle_seconds"]),
        )

    def close(self) -> None:
        """End the warm process and what it keeps ready; what runs goes on."""
        with self._lock:
            self._let_go()

    def _launch(self) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        numbers = (str(its.fileno()), str(self.size), str(self._idle_seconds))
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "himalia.runners.pool", *numbers],
                cwd="/",
                env=of_run(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
            )
        except OSError:
            mine.close()
            return
        finally:
            its.close()
        self._process = process
        self._pid = process.pid
        self._channel = mine
        self._is_warm = False

    def _await_warmth(self) -> bool:
        if not self._is_warm:
            self._is_warm = self._receive(_WARM_SECONDS)[0] is not None
        return self._is_warm

    def _ask(self, question: bytes) -> tuple[dict[str, Any] | None, socket.socket | None]:
        try:
            if self._channel is not None:
                self._channel.send(question)
        except OSError:
            self._let_go()
        return self._receive(_ANSWER_SECONDS)

    def _receive(self, seconds: float) -> tuple[dict[str, Any] | None, socket.socket | None]:
        """Return an answer and the socket that came with it."""
        if self._channel is None:
            return None, None
        self._channel.settimeout(seconds)
        message = b""
        descriptors: list[int] = []
        with contextlib.suppress(OSError):
            message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE, 1)
        if not message:
            self._let_go()
            return None, None
        pair = socket.socket(fileno=descriptors[0]) if descriptors else None
        return json.loads(message), pair

    def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            # What it keeps ready ends by itself; what it handed over goes on.
            self._process.kill()
            self._process.wait()
        self._pid = 0
        self._is_warm = False


def _weight(pid: int) -> int:
    """Return the memory of the warm process and of what it keeps ready, shared pages once."""
    if not pid:
        return 0
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total
