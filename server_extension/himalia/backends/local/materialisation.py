"""A snapshot's files as an attempt's own, which it may change."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from pathlib import Path

_FICLONE = 0x40049409


def materialise(snapshot: Path, work: Path) -> None:
    """Copy a snapshot's files into `work`, sharing blocks where the file system can.

    :raises OSError: it is missing, or the disk is full.
    """
    shutil.copytree(
        snapshot / "files", work, dirs_exist_ok=True, copy_function=_copy, symlinks=True
    )


def _copy(source: str, target: str) -> str:
    with open(source, "rb") as here, open(target, "wb") as there:  # noqa: PTH123 - copytree's own
        if not _clone(here.fileno(), there.fileno()):
            shutil.copyfileobj(here, there, 2**20)
        mode = os.fstat(here.fileno()).st_mode
        # Snapshots are read-only, a run's own files are not.
        os.fchmod(there.fileno(), (mode | 0o600) & 0o700)
    return target


def _clone(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError):
        fcntl.ioctl(target, _FICLONE, source)
        return True
    return False
