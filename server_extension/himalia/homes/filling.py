"""What fills a home, and the removal of it: by names below the home, no link ever followed.

Everything here may take long, and belongs into a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from himalia.core.errors import InvalidInput, NotFound, Unavailable
from himalia.core.homes import Walk, walk

_SHOWN = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """A file or a folder, with all that is in it."""

    name: str
    size_bytes: int
    is_folder: bool
    is_at_least: bool
    """There is more in it than could be counted in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The largest things in one folder, the largest first."""

    items: tuple[Filling, ...]
    others: int
    """Smaller ones that are left out."""


def contents(home: Path, parts: tuple[str, ...], *, seconds: float = 10.0) -> Contents:
    """Say what is in the folder `parts` below a home (:raises NotFound: there is no such one)."""
    until_mono = time.monotonic() + seconds
    # Small things are never behind large ones: what is counted in vain is told.
    seen: set[tuple[int, int]] = set()
    items = []
    with _inside(home, parts) as folder:
        device = os.fstat(folder).st_dev
        for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            try:
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            is_folder = stat.S_ISDIR(about.st_mode)
            found = Walk(seen=seen, size_bytes=about.st_blocks * 512)
            if is_folder and about.st_dev == device:
                _count(name, folder, found, until_mono)
            items.append(
                Filling(
                    name=name,
                    size_bytes=found.size_bytes,
                    is_folder=is_folder,
                    is_at_least=not found.is_whole,
                )
            )
    items.sort(key=lambda one: (-one.size_bytes, one.name))
    return Contents(items=tuple(items[:_SHOWN]), others=max(0, len(items) - _SHOWN))


def _count(name: str, folder: int, found: Walk, until_mono: float) -> None:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        found.is_whole = False
        return
    try:
        walk(inner, until_mono=until_mono, into=found)
    finally:
        os.close(inner)


def remove(home: Path, parts: tuple[str, ...]) -> None:
    """Delete a file, a link itself, or a folder with all that is in it.

    :raises InvalidInput: this is no path below the home, or another file system.
    :raises NotFound: it is not there.
    :raises Unavailable: not all of it could be deleted; the text says why.
    """
    if not parts:
        raise InvalidInput.of("path", "the home itself stays")
    with _inside(home, parts[:-1]) as folder:
        name = parts[-1]
        _check(name)
        try:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if about.st_dev != os.fstat(folder).st_dev:
                raise InvalidInput.of("path", "this is not a part of your home")
            if stat.S_ISDIR(about.st_mode):
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError as error:
            raise NotFound("It is not there any more.") from error
        except OSError as error:
            raise Unavailable(f"Not all of it could be deleted: {error.strerror}.") from error


@contextmanager
def _inside(home: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """Open a folder below the home, through no link."""
    try:
        folder = os.open(home, _FOLDER)
    except OSError as error:
        raise NotFound(f"Your home cannot be read: {error.strerror}.") from error
    try:
        for part in parts:
            _check(part)
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                raise NotFound("There is no such folder in your home.") from error
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _check(part: str) -> None:
    if part in {"", ".", ".."} or "/" in part or "\0" in part:
        raise InvalidInput.of("path", "this is no path below your home")
