"""The process of a run's kernel, started ahead or now, used once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from himalia.runners.confinement import Confinement, die_with_parent
from himalia.runners.environments import KernelSpec
from himalia.runners.failure import RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
_CONSOLE_READ = 65_536
# The user's folder must not be where the kernel's own modules come from; ipykernel puts it back.
_OWN_KERNEL = (
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); "
    "from himalia.runners.own_kernel import main; main()"
)
_POLL_SECONDS = 0.05


def connection_of(spec: KernelSpec, folder: Path) -> dict[str, Any]:
    """Choose where a kernel of `spec` listens: Unix sockets in `folder` where it can."""
    base = {
        "key": secrets.token_hex(32),
        "signature_scheme": "hmac-sha256",
        "kernel_name": spec.name,
    }
    if spec.language == "python":
        ports = {f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)}
        return {"transport": "ipc", "ip": str(folder / "k"), **base, **ports}
    from jupyter_client.connect import LocalPortCache  # noqa: PLC0415 - other languages only

    cache = LocalPortCache.instance()
    ports = {f"{name}_port": cache.find_available_port("127.0.0.1") for name in _CHANNELS}
    return {"transport": "tcp", "ip": "127.0.0.1", **base, **ports}


def make_socket_folder() -> Path:
    """Make a private folder whose path is short enough for Unix sockets.

    Named by the process, so that what a killed one left can be told from what is in use.
    """
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > 60:
        base = Path("/tmp")  # noqa: S108 - mkdtemp makes it private
    return Path(tempfile.mkdtemp(prefix=f"himalia-{os.getpid()}-", dir=base))


def sweep_socket_folders() -> None:
    """Remove what processes that were killed left of this user's."""
    for folder in Path(tempfile.gettempdir()).glob("himalia-*-*"):
        number = folder.name.split("-")[1]
        with contextlib.suppress(OSError):
            is_gone = number.isdigit() and not _exists(int(number))
            if is_gone and folder.lstat().st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(slots=True)
class Kernel:
    """A running kernel process, a child of this one."""

    pid: int
    connection: dict[str, Any]
    folder: Path
    console: int
    """Reading end of the pipe that its standard output and error go to."""
    interrupt_by_message: bool = False
    status: int | None = None
    """Exit code, negative for a signal, once it has ended."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    client: Any = None
    _pidfd: int = -1
    _rounds: asyncio.Task[None] | None = None

    def watch(self, on_console: Callable[[str], None]) -> None:
        """Follow the process's end and its console in the running loop."""
        loop = asyncio.get_running_loop()
        os.set_blocking(self.console, False)
        loop.add_reader(self.console, self._read_console, on_console)
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            loop.add_reader(self._pidfd, self.poll)
        else:
            self._rounds = loop.create_task(self._poll_for_ever())

    def _read_console(self, on_console: Callable[[str], None]) -> None:
        try:
            data = os.read(self.console, _CONSOLE_READ)
        except BlockingIOError:
            return
        if data:
            on_console(data.decode("utf-8", "replace"))
        else:
            asyncio.get_running_loop().remove_reader(self.console)

    async def _poll_for_ever(self) -> None:
        while not self.poll():  # noqa: ASYNC110 - only where the system tells nothing
            await asyncio.sleep(_POLL_SECONDS)

    def poll(self) -> bool:
        """Tell whether the process has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.ended.set()
                if self._pidfd >= 0:
                    asyncio.get_running_loop().remove_reader(self._pidfd)
                    os.close(self._pidfd)
                    self._pidfd = -1
        return self.status is not None

    async def connect(self, timeout_seconds: float) -> Any:
        """Return a client of the kernel once it answers, with its ``kernel_info`` reply.

        :raises RunFailed: the kernel ended or did not answer.
        """
        from jupyter_client.asynchronous.client import AsyncKernelClient  # noqa: PLC0415

        client = AsyncKernelClient()
        client.load_connection_info(self.connection)  # type: ignore[arg-type]
        # No heartbeat channel: the process itself is watched, and that needs no thread.
        client.start_channels(hb=False, stdin=False)
        client.allow_stdin = False
        self.client = client
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._greet(client)
        except TimeoutError:
            raise RunFailed(
                "kernel_died", f"The kernel did not answer within {timeout_seconds:.0f} s."
            ) from None

    async def _greet(self, client: Any) -> Any:
        from queue import Empty  # noqa: PLC0415

        gone = asyncio.ensure_future(self.ended.wait())
        try:
            while True:
                client.kernel_info()
                reply = asyncio.ensure_future(client.shell_channel.get_msg(timeout=5))
                await asyncio.wait({reply, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not reply.done():
                    reply.cancel()
                    raise RunFailed(
                        "kernel_died", f"The kernel {self.end_in_words()} at its start."
                    )
                try:
                    message = reply.result()
                    # Something must have come over iopub, or outputs would be missed.
                    await client.iopub_channel.get_msg(timeout=0.5)
                except Empty:
                    continue
                if message["msg_type"] == "kernel_info_reply":
                    return message
        finally:
            gone.cancel()

    async def interrupt(self) -> None:
        """Interrupt what the kernel runs."""
        if self.interrupt_by_message and self.client is not None:
            client = self.client
            client.control_channel.send(client.session.msg("interrupt_request", content={}))
        else:
            self.signal(signal.SIGINT)

    def signal(self, number: int) -> None:
        """Send a signal to the kernel's process group."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def shut_down(self, patience_seconds: float) -> None:
        """Let the kernel run its exit hooks, then kill what is left of it."""
        if self.status is None and self.client is not None and patience_seconds > 0:
            self.client.shutdown()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_seconds):
                    await self.ended.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill the kernel and let go of its channels."""
        self.signal(signal.SIGKILL)
        if self.status is None:
            await self.ended.wait()
        if self.client is not None:
            self.client.stop_channels()
            self.client = None
        asyncio.get_running_loop().remove_reader(self.console)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_in_words(self) -> str:
        """Say how the process ended."""
        if self.status is None:
            return "did not end"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by signal {signal.Signals(-self.status).name}"
        return f"ended by itself with exit code {self.status}"


def start_kernel(
    spec: KernelSpec, *, folder: str, env: dict[str, str], confinement: Confinement
) -> Kernel:
    """Start a kernel's process and return at once.

    :raises RunFailed: it cannot be started.
    """
    if spec.provisioner not in ("", "local-provisioner"):
        raise RunFailed(
            "environment_missing",
            f"The kernel {spec.name!r} runs elsewhere, by the provisioner {spec.provisioner!r}.",
        )
    sockets = make_socket_folder()
    connection = connection_of(spec, sockets)
    file = sockets / "kernel.json"
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    argv = _argv(spec, file)
    reading, writing = os.pipe()
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent(parent)
        confinement.apply()

    try:
        process = subprocess.Popen(  # noqa: S603 - the kernelspec is the user's own choice
            argv,
            cwd=folder,
            env=kernel_environment(spec, env, confinement),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            preexec_fn=prepare,  # noqa: PLW1509 - no thread was started yet
            process_group=0,
        )
    except OSError as error:
        shutil.rmtree(sockets, ignore_errors=True)
        raise RunFailed(
            "environment_missing", f"The kernel {spec.name!r} cannot be started: {error}"
        ) from error
    finally:
        os.close(writing)
    process.returncode = 0  # this module waits for the process, not the object's finaliser
    return Kernel(process.pid, connection, sockets, reading, spec.interrupt_by_message)


def kernel_environment(
    spec: KernelSpec, env: dict[str, str], confinement: Confinement
) -> dict[str, str]:
    """Return all variables that a kernel sees."""
    # The last one makes a kernel end with its parent where the system does not see to it.
    own = {"JPY_PARENT_PID": str(os.getpid())}
    return {**confinement.environment(), **env, **_spec_env(spec, env), **own}


def _argv(spec: KernelSpec, file: Path) -> list[str]:
    if spec.is_own_python:
        return [sys.executable, "-c", _OWN_KERNEL, str(file)]
    argv = [_fill(part, file, spec) for part in spec.argv]
    if "ipykernel_launcher" in argv:
        # No file of history: many kernels at once would wait for each other.
        argv.append("--HistoryManager.hist_file=:memory:")
    return argv


def _fill(part: str, file: Path, spec: KernelSpec) -> str:
    replaced = part.replace("{connection_file}", str(file)).replace("{resource_dir}", spec.folder)
    return replaced.replace("{prefix}", sys.prefix)


def _spec_env(spec: KernelSpec, env: dict[str, str]) -> dict[str, str]:
    from string import Template  # noqa: PLC0415 - few kernelspecs have variables

    return {name: Template(value).safe_substitute(env) for name, value in spec.env.items()}
