"""Snapshots and run folders on their way from one owner to another.

What is sent is a row of files, each behind a short description; there is no way to say link,
device or owner. It is unpacked under the heir's account into a new folder, checked there, and
renamed: it is there as a whole or not at all. All of it blocks on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from himalia.core.errors import InvalidInput
from himalia.core.places import Places
from himalia.runners.attempt import sync_folder

_CHUNK = 256 * 1024
_LENGTH = struct.Struct(">I")
_MAX_HEAD = 16_384
_MAX_FILES = 100_000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"(snapshots/[0-9a-f]{64}|runs/run-[0-9a-z]{26})\Z")
_OF_SNAPSHOT = re.compile(r"(manifest\.json|spec\.json|files/.+)\Z", re.DOTALL)
_OF_RUN = re.compile(
    r"[0-9]{1,6}/((result|roles|started)\.json|events\.jsonl|(outputs|log)/.+)\Z", re.DOTALL
)
"""What is left of a run; not its plan, which has the variables of the owner before."""


def pack(places: Places, name: str) -> Iterator[bytes]:
    """Yield what there is of ``snapshots/DIGEST`` or ``runs/ID``; nothing where that is gone."""
    folder = _folder(places, name)
    for here, _, files in os.walk(folder):
        for file in sorted(files):
            path = Path(here, file)
            member = path.relative_to(folder).as_posix()
            if _members(name).match(member):
                yield from _pack_file(path, member)


def _pack_file(path: Path, member: str) -> Iterator[bytes]:
    try:
        handle = os.open(path, _READ)
    except OSError:
        return
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return
        description = {
            "path": member,
            "size": found.st_size,
            "runs": bool(found.st_mode & stat.S_IXUSR),
        }
        head = json.dumps(description).encode()
        yield _LENGTH.pack(len(head)) + head
        left = found.st_size
        while left:
            # One that shrinks meanwhile is filled up, and found to be wrong where it matters.
            data = file.read(min(_CHUNK, left)) or bytes(min(_CHUNK, left))
            left -= len(data)
            yield data


class Box:
    """Something that is being unpacked."""

    def __init__(self, places: Places, name: str) -> None:
        self._final = _folder(places, name)
        self._name = name
        # Where the keeper of snapshots finds what a crash leaves.
        self._new = places.snapshots / f".new-{secrets.token_hex(8)}"
        self._new.mkdir(mode=0o700)
        self._rest = b""
        self._left = 0
        self._count = 0
        self._file = -1

    def put(self, data: bytes) -> None:
        """Take the next bytes (:raises InvalidInput: they make no sense)."""
        self._rest += data
        while True:
            if self._file >= 0:
                taken, self._rest = self._rest[: self._left], self._rest[self._left :]
                _write(self._file, taken)
                self._left -= len(taken)
                if self._left:
                    return
                self._end_file()
            elif not self._begin_file():
                return

    def finish(self) -> None:
        """Put it where it belongs, unless that is there already (:raises InvalidInput:)."""
        if self._rest or self._file >= 0:
            raise InvalidInput("What was sent is cut short.")
        if self._count:
            if self._name.startswith("snapshots/"):
                self._check_snapshot()
            if not self._final.exists():
                self._new.rename(self._final)
            # Young again: it is not collected before who has it now is stored.
            os.utime(self._final)
            sync_folder(self._final.parent)
        self.drop()

    def drop(self) -> None:
        """Forget what was not finished."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        shutil.rmtree(self._new, ignore_errors=True)

    def _begin_file(self) -> bool:
        if len(self._rest) < _LENGTH.size:
            return False
        (size,) = _LENGTH.unpack_from(self._rest)
        if size > _MAX_HEAD:
            raise InvalidInput("What was sent makes no sense.")
        if len(self._rest) < _LENGTH.size + size:
            return False
        head = self._rest[_LENGTH.size : _LENGTH.size + size]
        self._rest = self._rest[_LENGTH.size + size :]
        path, self._left, runs = _description(head, self._name)
        self._count += 1
        if self._count > _MAX_FILES:
            raise InvalidInput("What was sent has too many files.")
        target = self._new / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(target, _WRITE, 0o700 if runs else 0o600)
        if not self._left:
            self._end_file()
        return True

    def _end_file(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def _check_snapshot(self) -> None:
        """See that all is as its name says, which is the digest of the list of all files."""
        manifest = (self._new / "manifest.json").read_bytes()
        if hashlib.sha256(manifest).hexdigest() != self._final.name:
            raise InvalidInput("The snapshot that was sent is another one.")
        listed = json.loads(manifest)
        wanted = {f"files/{file['path']}": file["sha256"] for file in listed["files"]}
        if listed["spec"] is not None:
            wanted["spec.json"] = listed["spec"]
        found = {
            path.relative_to(self._new).as_posix(): _digest(path)
            for path in self._new.rglob("*")
            if path.is_file() and path != self._new / "manifest.json"
        }
        if found != wanted:
            raise InvalidInput("The snapshot that was sent is not complete.")
        # A snapshot without files has their folder all the same.
        (self._new / "files").mkdir(mode=0o700, exist_ok=True)


def _folder(places: Places, name: str) -> Path:
    if not _NAME.match(name):
        raise InvalidInput("This is neither a snapshot nor a run.")
    kind, _, own = name.partition("/")
    return (places.snapshots if kind == "snapshots" else places.runs) / own


def _members(name: str) -> re.Pattern[str]:
    return _OF_SNAPSHOT if name.startswith("snapshots/") else _OF_RUN


def _description(head: bytes, name: str) -> tuple[PurePosixPath, int, bool]:
    try:
        said: dict[str, Any] = json.loads(head)
        text, size, runs = str(said["path"]), int(said["size"]), bool(said["runs"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("What was sent makes no sense.") from error
    path = PurePosixPath(text)
    is_plain = not path.is_absolute() and ".." not in path.parts and str(path) == text
    if not is_plain or "\0" in text or size < 0 or not _members(name).match(text):
        raise InvalidInput("What was sent leads elsewhere.")
    return path, size, runs


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
