"""The complete files that an attempt left; user code could write there, so no link is followed."""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, Literal

from himalia.core.model import Output
from himalia.runners.attempt import AttemptFolder, read_json

_TYPES = {".ipynb": "application/x-ipynb+json", ".md": "text/markdown"}
_ORDER = {"notebook": 0, "export": 1, "file": 2}


def list_outputs(folder: AttemptFolder) -> tuple[Output, ...]:
    """Return what is complete so far, the notebook first."""
    roles = read_json(folder.roles) or {}
    found = [
        Output(
            name=name,
            size_bytes=size,
            media_type=_media_type(name),
            role=_role(roles.get(name)),
        )
        for name, size in _files(folder)
    ]
    return tuple(sorted(found, key=lambda output: (_ORDER[output.role], output.name)))


def open_output(folder: AttemptFolder, name: str) -> BinaryIO | None:
    """Open one output, or return None where there is no such file."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\x00" in part for part in parts) or _is_partial(parts[-1]):
        return None
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        here = os.open(folder.outputs, flags | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        file = os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=here)
    except (OSError, UnicodeEncodeError):
        return None
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    return os.fdopen(file, "rb")


def _files(folder: AttemptFolder) -> Iterator[tuple[str, int]]:
    for here, _, names in os.walk(folder.outputs):
        relative = os.path.relpath(here, folder.outputs)
        for name in names:
            path = os.path.join(here, name)  # noqa: PTH118 - os.walk's own strings
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and not _is_partial(name) and _is_text(name):
                yield (name if relative == "." else f"{relative}/{name}"), found.st_size


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


def _is_text(name: str) -> bool:
    # A name that is not UTF-8 could not be sent, or asked for.
    return name.isprintable() and not any(0xD800 <= ord(c) <= 0xDFFF for c in name)


def _role(role: object) -> Literal["notebook", "export", "file"]:
    return "notebook" if role == "notebook" else "export" if role == "export" else "file"


def _media_type(name: str) -> str:
    extension = os.path.splitext(name)[1].lower()  # noqa: PTH122
    guessed = _TYPES.get(extension) or mimetypes.guess_type(name)[0]
    return guessed or "application/octet-stream"
