"""Keeps the files a run left, by the patterns the user gave: bounded, and no link followed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from himalia.runners.attempt import sync_folder
from himalia.runners.failure import RunFailed

MAX_FILES = 1_000
MAX_BYTES = 2 * 2**30
_MAX_LOOKED_AT = 200_000
_CHUNK = 2**20


def collect(folder: Path, patterns: tuple[str, ...], outputs: Path, taken: set[str]) -> None:
    """Copy the regular files below `folder` that match into `outputs`.

    Names in `taken` are left alone.

    :raises RunFailed: there are too many, or they are too large.
    """
    if not patterns:
        return
    wanted = re.compile("|".join(f"(?:{_regex(pattern)})" for pattern in patterns))
    files = 0
    left = MAX_BYTES
    for name, folder_fd in _files(folder):
        if name in taken or not wanted.fullmatch(name):
            continue
        files += 1
        if files > MAX_FILES:
            raise RunFailed("output_too_large", f"More than {MAX_FILES} files match the outputs.")
        left -= _copy(folder_fd, outputs / name, outputs, left)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield relative names of files, each with a descriptor of the folder it is in."""
    looked_at = 0
    for here, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        folders.sort()
        relative = os.path.relpath(here, folder)
        for name in sorted(names):
            looked_at += 1
            if looked_at > _MAX_LOOKED_AT:
                raise RunFailed(
                    "output_too_large",
                    f"The working folder has more than {_MAX_LOOKED_AT} files.",
                )
            yield (name if relative == "." else f"{relative}/{name}"), descriptor


def _copy(folder_fd: int, target: Path, outputs: Path, room: int) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        source = os.open(target.name, flags, dir_fd=folder_fd)
    except OSError:
        return 0  # a link, or gone meanwhile
    with os.fdopen(source, "rb") as file:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            return 0
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = target.with_name(f".{target.name[:200]}.tmp")
        copied = 0
        try:
            with temporary.open("xb") as copy:
                while data := file.read(_CHUNK):
                    copied += len(data)
                    if copied > room:
                        limit = MAX_BYTES // 2**20
                        raise RunFailed(
                            "output_too_large", f"The outputs are larger than {limit} MiB."
                        )
                    copy.write(data)
                copy.flush()
                os.fsync(copy.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        parent = target.parent
        while parent != outputs.parent:
            sync_folder(parent)
            parent = parent.parent
        return copied


def _regex(pattern: str) -> str:
    """Translate a pattern in which ``**`` stands for any number of folders."""
    parts = pattern.strip("/").removeprefix("./").split("/")
    last = parts.pop()
    folders = "".join("(?:[^/]+/)*" if part == "**" else _component(part) + "/" for part in parts)
    return folders + (".+" if last == "**" else _component(last))


def _component(part: str) -> str:
    """Translate one component; wildcards stay within it."""
    return "".join(
        {"*": "[^/]*", "?": "[^/]"}.get(token) or _class_or_text(token)
        for token in re.findall(r"\[[!^]?\]?[^\]]*\]|.", part, re.DOTALL)
    )


def _class_or_text(token: str) -> str:
    if len(token) < 3:
        return re.escape(token)
    inside = token[1:-1]
    negated = inside[0] in "!^"
    members = re.escape(inside[negated:]).replace(r"\-", "-")
    return f"(?!/)[{'^' if negated else ''}{members}]"
