"""A runner and its kernel, forked ahead, that wait for a run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from himalia.runners.attempt import LOCK_FD, AttemptFolder, claim, read_json
from himalia.runners.confinement import Confinement, die_with_parent
from himalia.runners.environments import DEFAULT, KernelSpec, find_kernelspec
from himalia.runners.kernel import (
    Kernel,
    connection_of,
    kernel_environment,
    make_socket_folder,
    start_kernel,
)
from himalia.runners.notebook_run import NotebookRun

_MESSAGE = 65_536
_EARLY_NAMES = frozenset({"HOME", "LANG", "LANGUAGE"})
_EARLY_PREFIXES = ("PYTHON", "IPYTHON", "IPYKERNEL", "JUPYTER", "LC_", "LD_", "DYLD_", "MALLOC_")


def run_pair(pool: socket.socket) -> NoReturn:
    """Be a runner, from here to the end of this process."""
    code = 1
    try:
        os.setsid()
        try:
            kernel, channel = _fork_kernel(pool)
        except OSError:
            # No process or no room just now: the run, which may be on its way, must not get lost.
            traceback.print_exc()
            code = _wait_and_run(pool, None, None)
        else:
            code = _wait_and_run(pool, kernel, channel)
    except BaseException:  # noqa: BLE001 - a forked process must not return into the pool
        traceback.print_exc()
    finally:
        os._exit(code)


def _fork_kernel(pool: socket.socket) -> tuple[Kernel, socket.socket]:
    spec = find_kernelspec(DEFAULT)
    if spec is None:
        raise LookupError(DEFAULT)
    folder = make_socket_folder()
    connection = connection_of(spec, folder)
    file = folder / "kernel.json"
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    reading, writing = os.pipe()
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writing)
        its.close()
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return Kernel(pid, connection, folder, reading), mine
    die_with_parent(parent)
    os.setpgid(0, 0)
    mine.close()
    os.close(reading)
    _redirect(os.open(os.devnull, os.O_RDONLY), (0,))
    _redirect(writing, (1, 2))
    from himalia.runners.own_kernel import run_forked  # noqa: PLC0415 - the pool has it

    return run_forked(file, its, pool)


def _wait_and_run(pool: socket.socket, kernel: Kernel | None, channel: socket.socket | None) -> int:
    attempt = receive_attempt(pool)
    pool.close()
    if attempt is None:
        _discard(kernel)
        return 0
    folder = AttemptFolder(attempt[0])
    os.environ[LOCK_FD] = str(attempt[1])
    lock = claim(folder)
    plan = read_json(folder.plan)
    if lock is None or plan is None:
        _discard(kernel)
        return 0
    os.chdir(folder.work)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    _redirect(os.open(folder.console, flags, 0o600), (1, 2))
    starter = start_kernel if kernel is None or channel is None else _starter(kernel, channel)
    return NotebookRun(folder, plan, starter).go()


def receive_attempt(pool: socket.socket) -> tuple[Path, int] | None:
    """Wait for the folder of an attempt and its lock; None means that there will be none."""
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(pool, _MESSAGE, 1)
        except ConnectionResetError:
            # The sender closed before it heard that the kernel is ready. The system tells this
            # once, ahead of the message that is there all the same.
            continue
        if not message or not descriptors:
            return None
        return Path(os.fsdecode(message)), descriptors[0]


def _starter(kernel: Kernel, channel: socket.socket) -> Callable[..., Kernel]:
    def start(
        spec: KernelSpec, *, folder: str, env: dict[str, str], confinement: Confinement
    ) -> Kernel:
        variables = kernel_environment(spec, env, confinement)
        if not spec.is_own_python or _differ_early(variables) or _has_ended(kernel):
            channel.close()
            _discard(kernel)
            return start_kernel(spec, folder=folder, env=env, confinement=confinement)
        run = {"folder": folder, "env": variables, "confinement": asdict(confinement)}
        channel.send(json.dumps(run).encode())
        channel.close()
        return kernel

    return start


def _differ_early(variables: dict[str, str]) -> bool:
    """Tell whether a run's variables had to be there when the interpreter came up."""
    names = {*variables, *os.environ} - {LOCK_FD}
    return any(
        variables.get(name) != os.environ.get(name)
        for name in names
        if name in _EARLY_NAMES or name.startswith(_EARLY_PREFIXES)
    )


def _has_ended(kernel: Kernel) -> bool:
    return os.waitid(os.P_PID, kernel.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _discard(kernel: Kernel | None) -> None:
    if kernel is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(kernel.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(kernel.pid, 0)
    os.close(kernel.console)
    shutil.rmtree(kernel.folder, ignore_errors=True)


def _redirect(descriptor: int, targets: tuple[int, ...]) -> None:
    for target in targets:
        os.dup2(descriptor, target)
    os.close(descriptor)
