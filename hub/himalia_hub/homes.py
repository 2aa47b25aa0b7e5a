"""Homes below a hub's state folder: made, refused, retired. No link is ever followed."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from himalia.core.errors import Conflict, Unavailable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Homes:
    """The folders ``homes`` and ``retired``; every method blocks on disk."""

    def __init__(self, state: Path) -> None:
        self.homes = state / "homes"
        self._retired = state / "retired"

    def path(self, owner: str) -> Path:
        """Return where the home of an owner lies."""
        return self.homes / owner

    def make(self, owner: str, uid: int, gid: int) -> Path:
        """Make the home of an owner, or find it; nobody else can look into it.

        :raises Conflict: what is there belongs to somebody else.
        :raises Unavailable: it cannot be made.
        """
        try:
            with _opened(self.homes, 0o711) as homes:
                with suppress(FileExistsError):
                    os.mkdir(owner, 0o700, dir_fd=homes)
                home = os.open(owner, _FOLDER, dir_fd=homes)
                try:
                    self._take(home, owner, uid, gid)
                finally:
                    os.close(home)
        except OSError as error:
            raise Unavailable(
                f"The home {self.path(owner)} cannot be made: {error.strerror}. See that the "
                "hub's account can write there."
            ) from error
        return self.path(owner)

    def retire(self, owner: str) -> None:
        """Put a home where only the hub's own account can reach it; does nothing without one."""
        with _opened(self.homes, 0o711) as homes, _opened(self._retired, 0o700) as retired:
            # A folder of our own around it remembers when, and is what nobody else can enter.
            wrap = f"{owner}.{time.time_ns()}"
            os.mkdir(wrap, 0o700, dir_fd=retired)
            try:
                os.rename(owner, f"{wrap}/home", src_dir_fd=homes, dst_dir_fd=retired)
            except FileNotFoundError:
                os.rmdir(wrap, dir_fd=retired)

    def delete_retired(self, older_than_seconds: float, owner: str | None = None) -> int:
        """Delete the homes, of everybody or one owner, that were retired so long ago; return how
        many.
        """
        before_ns = time.time_ns() - int(older_than_seconds * 1e9)
        count = 0
        with suppress(FileNotFoundError), os.scandir(self._retired) as entries:
            for entry in list(entries):
                whose, _, moment = entry.name.rpartition(".")
                is_meant = owner is None or whose == owner
                if is_meant and moment.isdigit() and int(moment) <= before_ns:
                    # It opens folder after folder by descriptor, and follows no link.
                    shutil.rmtree(entry.path, ignore_errors=True)
                    count += not Path(entry.path).exists()
        return count

    def numbers(self) -> Iterator[int]:
        """Yield the accounts that own a home here, or owned one."""
        for pattern in ("homes/*", "retired/*/home"):
            for path in self.homes.parent.glob(pattern):
                with suppress(OSError):
                    yield path.lstat().st_uid

    def _take(self, home: int, owner: str, uid: int, gid: int) -> None:
        found = os.fstat(home)
        is_new = found.st_uid == os.geteuid() and not os.listdir(home)
        if found.st_uid != uid and not is_new:
            raise Conflict(
                f"The home {self.path(owner)} belongs to account number {found.st_uid}, and not "
                f"to {uid}. Move it away, or give it to the right account."
            )
        os.fchmod(home, 0o700)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(home, uid, gid)


@contextmanager
def _opened(folder: Path, mode: int) -> Iterator[int]:
    """Open a folder of the hub's own, which nobody else may write to; make it if need be."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    handle = os.open(folder, _FOLDER)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
            raise Conflict(
                f"Others may write to {folder}. It has to belong to the hub's account alone."
            )
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(handle, mode)
        yield handle
    finally:
        os.close(handle)
