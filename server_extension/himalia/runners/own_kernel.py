"""An ipykernel in this interpreter: started by itself, or forked ahead and handed a run later.

It differs from an ordinary one in how it ends. ipykernel's own end waits for threads that may wait
for each other, up to ten seconds long (``OutStream.flush`` in the control thread, for an output
thread that was stopped); killed meanwhile, it would leave files half written.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from ipykernel.kernelapp import IPKernelApp

from himalia.runners.confinement import Confinement

READY = b"ready"
_HAND_OVER = 4 * 2**20


class OwnKernelApp(IPKernelApp):
    """Can leave out, until the run is known, the steps that see its folder and its variables."""

    is_handed_over = True

    def init_gui_pylab(self) -> None:
        """Choose matplotlib's backend."""
        if self.is_handed_over:
            super().init_gui_pylab()  # type: ignore[no-untyped-call]

    def init_extensions(self) -> None:
        """Load the extensions of the user's configuration."""
        if self.is_handed_over:
            super().init_extensions()  # type: ignore[no-untyped-call]

    def init_code(self) -> None:
        """Run the start-up files of the user's profile."""
        if self.is_handed_over:
            super().init_code()  # type: ignore[no-untyped-call]

    def begin(self) -> None:
        """Take the steps that were left out."""
        self.is_handed_over = True
        if self.shell is not None:
            self.shell.init_environment()
        self.init_gui_pylab()
        self.init_extensions()
        self.init_code()
        sys.stdout.flush()
        sys.stderr.flush()


def run_forked(connection_file: Path, channel: socket.socket, pool: socket.socket) -> NoReturn:
    """Be a kernel, from here to the end of this process.

    `channel` brings the run; `pool` is told when the kernel is ready for it.
    """
    code = 1
    try:
        # As Python itself sets them; the warm process and its runner have their own.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        app = OwnKernelApp.instance()
        app.is_handed_over = False
        _initialize(app, connection_file)
        gc.freeze()
        with contextlib.suppress(OSError):
            # The pool listens no longer when a run came before the kernel was ready.
            pool.send(READY)
        pool.close()
        message = channel.recv(_HAND_OVER)
        channel.close()
        if message:
            _take_over(json.loads(message))
            app.begin()
            app.start()  # type: ignore[no-untyped-call]
            code = _leave(app)
    except BaseException:  # noqa: BLE001 - a forked process must not return into the pool
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def main() -> NoReturn:
    """Be a kernel, with the connection file as the one argument."""
    app = OwnKernelApp.instance()
    _initialize(app, Path(sys.argv[1]))
    app.start()  # type: ignore[no-untyped-call]
    os._exit(_leave(app))


def _initialize(app: OwnKernelApp, connection_file: Path) -> None:
    launcher = Path(sys.modules["ipykernel"].__file__ or "").parent.parent / "ipykernel_launcher.py"
    sys.argv = [str(launcher), "-f", str(connection_file)]
    app.initialize(  # type: ignore[no-untyped-call]
        [
            "-f",
            str(connection_file),
            "--HistoryManager.hist_file=:memory:",
            # An ordinary kernel reads this from its environment, at its import.
            f"--IPKernelApp.parent_handle={os.getppid()}",
        ]
    )


def _leave(app: OwnKernelApp) -> int:
    """Do what Python does at its end: threads, exit hooks, and what objects do when they go."""
    atexit.unregister(app.close)
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - as Py_Finalize does
    atexit._run_exitfuncs()  # noqa: SLF001
    if app.shell is not None:
        app.shell.user_ns.clear()
    gc.collect()
    for left in gc.get_objects():
        with contextlib.suppress(Exception):
            if isinstance(left, io.IOBase) and left is not sys.stdout and left is not sys.stderr:
                left.flush()
    return 0


def _take_over(run: dict[str, Any]) -> None:
    inherited = Path("/proc/self/environ").read_bytes().split(b"\0")
    names = {os.fsdecode(entry.partition(b"=")[0]) for entry in inherited}
    # What modules set when they were imported belongs to the kernel.
    own = {name: value for name, value in os.environ.items() if name not in names}
    os.environ.clear()
    os.environ.update(own | run["env"])
    time.tzset()
    os.chdir(run["folder"])
    random.seed()
    Confinement(**run["confinement"]).apply()
