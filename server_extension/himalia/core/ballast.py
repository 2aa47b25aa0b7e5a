"""Disk space kept back, so that how a run ended can be written even when it filled the disk."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)

_BYTES = 8 * 2**20
_TIGHT = 2**20
_PLENTY = 8 * _BYTES


class Ballast:
    """A file that takes space as long as there is plenty of it. Every method blocks on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Keep space back, if there is plenty and none is kept yet."""
        with suppress(OSError):
            if self._path.exists() or shutil.disk_usage(self._path.parent).free < _PLENTY:
                return
            new = self._path.with_suffix(".new")
            try:
                with open(new, "wb", opener=_private) as file:
                    # Written, not only sized: a hole would keep nothing back.
                    file.write(bytes(_BYTES))
                new.replace(self._path)
            finally:
                new.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Free the space where the disk is full; return whether that freed any."""
        try:
            if shutil.disk_usage(self._path.parent).free >= _TIGHT:
                return False
            self._path.unlink()
        except OSError:
            return False
        _log.warning("the disk is full: giving up the space that was kept back")
        return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
