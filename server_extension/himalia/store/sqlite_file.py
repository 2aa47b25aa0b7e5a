"""The file of an SQLite store: where it may lie, how it is made, and whether it is whole."""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from himalia.core.errors import Unavailable

_MODE = 0o600
_ROOM = 512
"""Bytes that hold a ``struct statfs`` of any system, with room to spare."""

# f_type of statfs(2), from linux/magic.h and the file systems' own headers.
NETWORK_TYPES = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB",
    0xFF534D42: "CIFS",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x0BD00BD3: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x01021997: "9P",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x786F4256: "a VirtualBox shared folder",
}
_FUSE = 0x65735546
_LOCAL_FUSE = frozenset({"fuse", "fuseblk", "fuse.ntfs-3g", "fuse.fuse-overlayfs", "fuse.mergerfs"})
_NETWORK_MOUNTS = frozenset(
    {"nfs", "smbfs", "afpfs", "webdav", "cifs", "ftp", "macfuse", "osxfuse"}
)
"""What other systems than Linux call theirs."""


def refuse_network(folder: Path) -> None:
    """Check that `folder` lies on a disk of this machine.

    SQLite's log is shared memory between the processes that use it, which machines cannot share:
    https://www.sqlite.org/wal.html.

    :raises Unavailable: it lies on a network file system.
    """
    name = network_name(folder)
    if name is not None:
        raise Unavailable(
            f"{folder} lies on a network file system ({name}), where the store could be damaged. "
            "Set HIMALIA_HOME to a folder on a disk of this machine."
        )


def network_name(folder: Path) -> str | None:
    """Name the network file system that `folder` lies on, or return None for a local one."""
    if not sys.platform.startswith("linux"):
        name = _mount_type(folder)
        return name if name in _NETWORK_MOUNTS else None
    kind = filesystem_type(folder)
    if kind == _FUSE:
        name = _mount_type(folder)
        return None if name in _LOCAL_FUSE else name
    return NETWORK_TYPES.get(kind)


def filesystem_type(folder: Path) -> int:
    """Ask the system for the type of the file system below `folder`."""
    buffer = ctypes.create_string_buffer(_ROOM)
    statfs = ctypes.CDLL(None, use_errno=True).statfs
    if statfs(os.fsencode(folder), buffer) != 0:
        number = ctypes.get_errno()
        raise Unavailable(f"{folder} cannot be looked at: {os.strerror(number)}.")
    return int(ctypes.c_long.from_buffer(buffer).value) & 0xFFFFFFFF


def _mount_type(folder: Path) -> str:
    """Find the type of the mount below `folder` in the system's list: FUSE's tell their own."""
    import psutil  # noqa: PLC0415 - needed for few file systems

    path = folder.resolve()
    found = [
        (len(mount.mountpoint), number, mount.fstype)
        for number, mount in enumerate(psutil.disk_partitions(all=True))
        if path.is_relative_to(mount.mountpoint)
    ]
    return max(found)[2] if found else ""


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Let one process at a time make or migrate the store at `path`."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_whole(path: Path) -> bool:
    """Tell whether there is a store at `path`, and refuse what only remains of one.

    :raises Unavailable: the file is empty, or missing while its log is there: going on would make
        an empty store without a word.
    """
    log = Path(f"{path}-wal")
    if path.exists():
        if path.stat().st_size == 0:
            raise _remains(f"The store {path} is empty: it was truncated.")
        path.chmod(_MODE)
        return True
    if log.exists() and log.stat().st_size > 0:
        raise _remains(f"The store {path} is missing, while its log {log.name} is there.")
    return False


def _remains(what: str) -> Unavailable:
    return Unavailable(
        f"{what} Nothing was changed. Put back a copy, or move the files that begin with its name "
        "away to start with an empty store."
    )


def begin(path: Path) -> Path:
    """Make an empty file, only for its owner, that :func:`finish` turns into the store."""
    draft = Path(f"{path}.new")
    for left in (draft, Path(f"{draft}-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE))
    return draft


def finish(draft: Path, path: Path) -> None:
    """Give a complete store its name, durably: there is never half a store."""
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
