"""Paths that users write: relative to a root, and confined in it component by component.

A link is followed as long as it stays below the root. What was checked here and is read later is
opened without following any link (:func:`open_below`), so that a swap in between is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from himalia.core.errors import InvalidInput

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Folders on the way need not be readable: those above a user's home may let them pass only.
_PASS = getattr(os, "O_PATH", _READ) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


def relative(root: Path, text: str, field: str) -> Path:
    """Return `text` as a path relative to `root`, by its words alone; nothing is looked up.

    An absolute path is taken where it lies below `root`.

    :raises InvalidInput: naming `field`: it has ``..``, lies elsewhere or cannot be a path.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidInput.of(field, "this is not a path") from error
    if not text or "\0" in text:
        raise InvalidInput.of(field, "this is not a path")
    path = Path(text)
    if ".." in path.parts:
        raise InvalidInput.of(field, "write the path without “..”")
    if not path.is_absolute():
        return path
    for base in (root, Path(os.path.realpath(root))):
        if path.is_relative_to(base):
            return path.relative_to(base)
    raise InvalidInput.of(field, f"{text} lies outside of {root}")


def resolve(root: Path, text: str, field: str) -> Path:
    """Return the real path of the existing file or folder `text`, below the real `root`.

    :raises InvalidInput: naming `field`: it is not there, or it or a link in it leads outside.
    """
    base = Path(os.path.realpath(root))
    try:
        found = Path(os.path.realpath(base / relative(root, text, field), strict=True))
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise InvalidInput.of(field, f"{text} {reason} below {root}") from error
    if not found.is_relative_to(base):
        raise InvalidInput.of(field, f"{text} leads outside of {root}")
    return found


def open_below(base: Path, path: Path) -> int:
    """Open the real `path`, which lies below the real folder `base`, for reading; no component
    of it may be a link by now. Never waits, for a FIFO either.

    :raises OSError: it is not there, may not be read, or became a link.
    """
    parts = path.relative_to(base).parts
    if not parts:
        return os.open(base, _READ | os.O_DIRECTORY)
    folder = os.open(base, _PASS)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _PASS, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], _READ, dir_fd=folder)
    finally:
        os.close(folder)


def read_file(root: Path, text: str, field: str, *, limit: int) -> bytes:
    """Return what the regular file `text` below `root` holds.

    :raises InvalidInput: naming `field`: no such file, not a regular one, or over `limit` bytes.
    """
    path = resolve(root, text, field)
    try:
        handle = open_below(Path(os.path.realpath(root)), path)
    except OSError as error:
        raise InvalidInput.of(field, f"{text} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InvalidInput.of(field, f"{text} is not a file")
    with os.fdopen(handle, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidInput.of(field, f"{text} is larger than {limit // 2**20} MiB")
    return data
