"""The copy of input files into a snapshot: follows no link out, waits for no FIFO, knows limits."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from himalia.core.errors import InvalidInput, TooLarge
from himalia.core.paths import open_below
from himalia.kinds.base import Pin

_CHUNK = 1 << 20
_NEVER = frozenset({".ipynb_checkpoints"})
_MAX_DEPTH = 60
_MAX_REPORTED = 100
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# More files than this are brought to the disk by one sync of everything, which is cheaper.
_SYNC_EACH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one snapshot may hold."""

    max_bytes: int = 2 * 2**30
    max_files: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file as it was copied."""

    digest: str
    size_bytes: int
    runs: bool
    """Whether its owner may execute it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """An open file or folder, with where it really is and what it is called in the snapshot."""

    handle: int
    path: Path
    name: Path
    above: tuple[tuple[int, int], ...]
    """The folders it lies in, by device and inode."""


class Copier:
    """Copies what one pin names into the folder `target`."""

    def __init__(self, target: Path, limits: Limits, *, leave_out: Path) -> None:
        self.files: dict[str, PinnedFile] = {}
        self.size_bytes = 0
        self._target = target
        self._limits = limits
        self._leave_out = _identity(leave_out.stat())
        self._skipped: dict[str, str] = {}
        self._confined = target

    def skipped(self) -> tuple[str, ...]:
        """Return what was left out, each with why."""
        lines = [f"{name}: {why}" for name, why in list(self._skipped.items())[:_MAX_REPORTED]]
        if len(self._skipped) > _MAX_REPORTED:
            lines.append(f"… and {len(self._skipped) - _MAX_REPORTED} more")
        return tuple(line.encode(errors="replace").decode() for line in lines)

    def copy(self, pin: Pin) -> None:
        """Copy all of it (:raises InvalidInput:, :raises TooLarge:)."""
        folder = Path(os.path.realpath(pin.folder))
        root = Path(os.path.realpath(pin.root or pin.folder))
        self._confined = folder
        for name in (*(["."] if pin.whole_folder else []), *pin.files):
            path = Path(os.path.realpath(folder / name))
            if ".." in Path(name).parts or not path.is_relative_to(root):
                raise InvalidInput.of("files", f"{name} leads outside of {root}")
            try:
                handle = open_below(root, path)
            except OSError as error:
                raise InvalidInput.of("files", f"{name}: {error.strerror}") from error
            self._take(_Place(handle=handle, path=path, name=Path(name), above=()))

    def sync(self) -> None:
        """Bring all that was copied to the disk."""
        if len(self.files) > _SYNC_EACH:
            os.sync()
            return
        for folder, _, names in os.walk(self._target):
            for path in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - os.walk gives strings
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def _take(self, place: _Place) -> None:
        """Copy what is open at `place`, and close it."""
        try:
            found = os.fstat(place.handle)
            if stat.S_ISREG(found.st_mode):
                self._copy_file(place, runs=bool(found.st_mode & stat.S_IXUSR))
            elif not stat.S_ISDIR(found.st_mode):
                self._skip(place.name, "neither a file nor a folder")
            elif _identity(found) == self._leave_out:
                self._skip(place.name, "Himalia's own files")
            elif _identity(found) in place.above:
                self._skip(place.name, "a link to a folder that it lies in")
            elif len(place.name.parts) >= _MAX_DEPTH:
                self._skip(place.name, f"more than {_MAX_DEPTH} folders deep")
            else:
                self._take_folder(place, (*place.above, _identity(found)))
        finally:
            os.close(place.handle)

    def _take_folder(self, place: _Place, above: tuple[tuple[int, int], ...]) -> None:
        (self._target / place.name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in sorted(os.listdir(place.handle)):  # noqa: PTH208 - by handle
            if entry in _NEVER:
                continue
            name, path = place.name / entry, place.path / entry
            try:
                handle = os.open(entry, _READ, dir_fd=place.handle)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    self._skip(name, error.strerror)
                    continue
                linked = self._open_link(name, path)
                if linked is None:
                    continue
                handle, path = linked
            self._take(_Place(handle=handle, path=path, name=name, above=above))

    def _open_link(self, name: Path, path: Path) -> tuple[int, Path] | None:
        try:
            real = Path(os.path.realpath(path, strict=True))
            if not real.is_relative_to(self._confined):
                self._skip(name, "a link out of the folder")
                return None
            return open_below(self._confined, real), real
        except OSError as error:
            self._skip(name, f"a link that leads nowhere: {error.strerror}")
            return None

    def _copy_file(self, place: _Place, *, runs: bool) -> None:
        name = place.name.as_posix()
        if name in self.files:
            return
        if len(self.files) >= self._limits.max_files:
            raise TooLarge(
                f"The input files are more than {self._limits.max_files}. "
                "Name the ones that the run needs instead of the whole folder."
            )
        target = self._target / place.name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with os.fdopen(os.open(target, _WRITE, 0o700 if runs else 0o600), "wb") as copy:
            while chunk := self._read(place):
                size += len(chunk)
                self._count(len(chunk))
                digest.update(chunk)
                copy.write(chunk)
        self.files[name] = PinnedFile(digest=digest.hexdigest(), size_bytes=size, runs=runs)

    def _read(self, place: _Place) -> bytes:
        try:
            return os.read(place.handle, _CHUNK)
        except OSError as error:
            raise InvalidInput.of("files", f"{place.name}: {error.strerror}") from error

    def _count(self, size: int) -> None:
        self.size_bytes += size
        if self.size_bytes > self._limits.max_bytes:
            raise TooLarge(
                f"The input files are larger than {self._limits.max_bytes // 2**20} MiB. "
                "Name the ones that the run needs, or read large data from where it lies."
            )

    def _skip(self, name: Path, why: str | None) -> None:
        self._skipped[name.as_posix()] = why or "cannot be read"


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
