"""How full a home is: as its file system says, or by a walk where that tells of more than a home.

Everything here reads the disk and may take seconds; :class:`Gauge` keeps what it found.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import AwareDatetime

from himalia.core.spec import Model

RESCUED = "HIMALIA_RESCUED_HOME"
"""Variable that names the home which cannot be written to, where a server runs without it."""
SIZE = "HIMALIA_HOME_BYTES"
"""Variable with the size that was agreed on, where the file system is shared by many homes."""
PROJECTS = "/projects"
"""Where pods of a cluster have the folders that their user has with others."""
ALMOST_FULL = 0.9
_WALK_SECONDS = 20.0
_WALK_ENTRIES = 1_000_000
_FRESH_SECONDS = 600.0
_WAIT_SECONDS = 3.0
_BLOCK = 512
_DEEPEST = 200
"""Folders in each other, each of which is open meanwhile."""


class HomeUse(Model):
    """How full the caller's home is."""

    size_bytes: int | None
    """That was agreed on, or is the file system's; None where nobody knows."""
    used_bytes: int | None
    """None while it is counted for the first time."""
    free_bytes: int | None
    is_at_least: bool = False
    """Whether more is used than could be counted in time."""
    is_almost_full: bool = False
    """Nine tenths or more are used."""
    is_rescued: bool = False
    """Whether the caller's server runs without the home, since nothing can be written there."""
    looked_at: AwareDatetime


@dataclass(slots=True, kw_only=True)
class Walk:
    """What a walk through a folder found."""

    size_bytes: int = 0
    is_whole: bool = True
    """Whether nothing was left out for want of time."""
    entries: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Files with several names, which count once."""


def walk(
    folder: int | Path, *, until_mono: float, most: int = _WALK_ENTRIES, into: Walk | None = None
) -> Walk:
    """Count what lies in a folder (a descriptor or a path), on its own file system, links and what
    cannot be read left out. Never raises for what is in it.
    """
    found = into or Walk()
    try:
        top = os.open(folder, _FOLDER) if isinstance(folder, Path) else os.dup(folder)
    except OSError:
        return found
    device = os.fstat(top).st_dev
    pending = [iter(_entries(top))]
    handles = [top]
    try:
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                os.close(handles.pop())
                continue
            if found.entries >= most or time.monotonic() > until_mono:
                found.is_whole = False
                break
            found.entries += 1
            about = _about(entry, handles[-1])
            if about is None or about.st_dev != device:
                continue
            found.size_bytes += _taken(about, found)
            if stat.S_ISDIR(about.st_mode):
                inner = _open(entry, handles[-1]) if len(handles) < _DEEPEST else None
                if inner is None:
                    found.is_whole = False
                else:
                    handles.append(inner)
                    pending.append(iter(_entries(inner)))
    finally:
        for handle in handles:
            os.close(handle)
    return found


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _entries(folder: int) -> Iterator[str]:
    try:
        yield from os.listdir(folder)
    except OSError:
        return


def _about(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _open(name: str, folder: int) -> int | None:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        return None


def _taken(about: os.stat_result, found: Walk) -> int:
    if about.st_nlink > 1 and not stat.S_ISDIR(about.st_mode):
        key = (about.st_dev, about.st_ino)
        if key in found.seen:
            return 0
        found.seen.add(key)
    return about.st_blocks * _BLOCK


class Gauge:
    """Looks at one home, and walks through it at most once in ten minutes."""

    def __init__(self, home: Path, *, size_bytes: int | None = None, rescued: bool = False) -> None:
        self._home = home
        self._size = size_bytes
        self._rescued = rescued
        self._walking: asyncio.Task[Walk] | None = None
        self._found: Walk | None = None
        self._at = datetime.now(UTC)
        self._at_mono = float("-inf")

    async def read(self) -> HomeUse:
        """Return how full the home is; a long walk goes on, and is for who asks next."""
        try:
            disk = await asyncio.to_thread(shutil.disk_usage, self._home)
        except OSError:
            return self._use(None, None, None, counted=False)
        if self._size is None or disk.total <= self._size:
            # It is the home's own.
            return self._use(disk.total, disk.used, disk.free, counted=False)
        await self._walk()
        used = None if self._found is None else self._found.size_bytes
        left = None if used is None else max(0, min(disk.free, self._size - used))
        return self._use(self._size, used, left)

    def forget(self) -> None:
        """Count anew when somebody asks next: much was removed."""
        self._at_mono = float("-inf")

    async def _walk(self) -> None:
        if self._walking is None and time.monotonic() > self._at_mono + _FRESH_SECONDS:
            until_mono = time.monotonic() + _WALK_SECONDS
            doing = asyncio.to_thread(walk, self._home, until_mono=until_mono)
            self._at_mono = time.monotonic()
            self._walking = asyncio.create_task(doing, name="walk through a home")
            self._walking.add_done_callback(self._walked)
        if self._walking is not None:
            await asyncio.wait({self._walking}, timeout=_WAIT_SECONDS)

    def _walked(self, walking: asyncio.Task[Walk]) -> None:
        self._walking = None
        if not walking.cancelled() and walking.exception() is None:
            self._found, self._at = walking.result(), datetime.now(UTC)

    def _use(
        self, size: int | None, used: int | None, free: int | None, *, counted: bool = True
    ) -> HomeUse:
        return HomeUse(
            size_bytes=size,
            used_bytes=used,
            free_bytes=free,
            is_at_least=counted and self._found is not None and not self._found.is_whole,
            is_almost_full=bool(size and used is not None and used >= ALMOST_FULL * size),
            is_rescued=self._rescued,
            looked_at=self._at if counted else datetime.now(UTC),
        )


@cache
def own_gauge() -> Gauge:
    """Return what looks at the home of whoever runs this process, as its variables name it."""
    rescued, agreed = os.environ.get(RESCUED, ""), os.environ.get(SIZE, "")
    return Gauge(
        Path(rescued) if rescued else Path.home(),
        size_bytes=int(agreed) if agreed.isdecimal() else None,
        rescued=bool(rescued),
    )
