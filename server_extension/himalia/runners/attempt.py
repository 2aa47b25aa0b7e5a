"""The folder of one attempt: how its backend and its runner talk, whichever of them dies.

``plan.json`` says what to do. Whoever holds the lock on ``lock`` executes; the backend takes it
before it spawns and the runner inherits it, so there is no moment in which an attempt looks free.
``started.json`` without a held lock and without ``result.json`` means that it was lost. Where the
two are on different machines, locks do not reach: then whoever makes ``begun`` executes. Standard
library only: a runner is executing after a few milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOCK_FD = "HIMALIA_LOCK_FD"
"""Environment variable with the number of the inherited, locked descriptor."""
MARK = "HIMALIA_ATTEMPT"
"""Variable by which what a run started is found again, whatever became of its parents."""
STOPS_BY_WORD = "stops_by_word"
"""In a plan: without the file ``stop``, a signal to end is no user's wish, and leaves no result."""
_PRIVATE_FILE = 0o600
_RESERVE_BYTES = 256 * 1024
_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """Paths in one attempt's folder, and the steps both sides take there."""

    path: Path

    @property
    def work(self) -> Path:
        """The attempt's own copy of the snapshot."""
        return self.path / "work"

    @property
    def outputs(self) -> Path:
        """Complete files only."""
        return self.path / "outputs"

    @property
    def log(self) -> Path:
        """Segments of the log."""
        return self.path / "log"

    @property
    def events(self) -> Path:
        """Cell events, one JSON object a line; the first line has the ``total`` of cells."""
        return self.path / "events.jsonl"

    @property
    def console(self) -> Path:
        """What the runner itself wrote to its standard error, when it broke."""
        return self.path / "console"

    @property
    def reserve(self) -> Path:
        """Room on the disk for the result."""
        return self.path / "reserve"

    @property
    def stop(self) -> Path:
        """Exists when the attempt was asked to stop."""
        return self.path / "stop"

    @property
    def begun(self) -> Path:
        """Exists when somebody on another machine began to execute, or saw to it that none does."""
        return self.path / "begun"

    @property
    def started(self) -> Path:
        """Exists when somebody began to start the attempt."""
        return self.path / "started.json"

    @property
    def result(self) -> Path:
        """How the attempt ended."""
        return self.path / "result.json"

    @property
    def roles(self) -> Path:
        """Which outputs are the notebook and its exports, by name; the others are files."""
        return self.path / "roles.json"

    @property
    def plan(self) -> Path:
        """What to do."""
        return self.path / "plan.json"

    @property
    def lock(self) -> Path:
        """Locked by the executing process."""
        return self.path / "lock"

    def make(self) -> None:
        """Make the folders that are not there; that of the snapshot comes with it."""
        for folder in (self.path, self.outputs, self.log):
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)

    def take(self, *, patience_seconds: float = 0.0) -> int | None:
        """Lock the attempt; return the descriptor that holds it, or None when somebody has it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
            else:
                return descriptor

    @staticmethod
    def release(descriptor: int) -> None:
        """Give the lock back."""
        os.close(descriptor)

    def is_taken(self) -> bool:
        """Tell whether somebody executes the attempt."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def begin(self) -> bool:
        """Be the one who executes, whatever machine the others are on; tell whether it is so."""
        try:
            os.close(os.open(self.begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
        except FileExistsError:
            return False
        return True

    def look_anew(self) -> None:
        """See what other machines did here: file systems over a network remember for a while which
        names there were, until this machine changes the folder itself.
        """
        with contextlib.suppress(OSError):
            name = self.path / f".look.{os.getpid()}.{time.monotonic_ns()}.tmp"
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
            name.unlink()

    def finish(self, result: dict[str, Any]) -> None:
        """Leave the result, once: complete on disk, or not there at all."""
        if not self.result.exists():
            write_json(self.result, result, durable=True)


def keep_reserve(folder: AttemptFolder) -> None:
    """Take room that a full disk cannot take away; where there is none, go without."""
    with contextlib.suppress(OSError), folder.reserve.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        else:
            file.write(bytes(_RESERVE_BYTES))


def claim(folder: AttemptFolder) -> int | None:
    """Become the one process that executes the attempt, or return None.

    The lock is inherited from the backend, or taken when a person runs the runner by hand.
    """
    inherited = os.environ.pop(LOCK_FD, None)
    descriptor = int(inherited) if inherited else folder.take(patience_seconds=1.0)
    if descriptor is None:
        return None
    os.set_inheritable(descriptor, False)
    executed = not inherited and folder.started.exists()
    if executed or folder.result.exists():
        os.close(descriptor)
        return None
    return descriptor


def read_json(path: Path) -> dict[str, Any] | None:
    """Read an object, or return None where there is no complete one."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, Any], *, durable: bool = False) -> None:
    """Write an object: readers see all of it or none of it."""
    write_file(path, json.dumps(value, ensure_ascii=True).encode(), durable=durable)


def write_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file under a temporary name beside it and rename it.

    :raises OSError: for a full disk, with nothing left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, _PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def now() -> str:
    """Return the time as all files here carry it."""
    return datetime.now(UTC).isoformat()


def boot_id() -> str:
    """Name this start of the system, within which process numbers mean something."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def remove_tree(folder: Path) -> None:
    """Delete a folder, with what user code made unwritable in it."""

    def retry(_function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - rmtree's own strings
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                os.chmod(path, 0o700)  # noqa: PTH101
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)  # noqa: PTH108

    shutil.rmtree(folder, onerror=retry)
