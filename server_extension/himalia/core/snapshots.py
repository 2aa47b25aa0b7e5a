"""Inputs pinned at one moment: folders ``<digest>/{manifest.json, spec.json, files/…}``.

A snapshot's digest is that of its manifest, which lists every file with its own digest, so equal
inputs are kept once. What is asked of a run is an input, too: a run that waits, or is repeated
later, does what it was made for, whatever its workload has become. A snapshot appears complete or
not at all.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from himalia.core.errors import Conflict, Unavailable
from himalia.core.model import Snapshot
from himalia.core.pinning import Copier, Limits
from himalia.core.spec import Spec
from himalia.kinds.base import Pin

_TEMPORARY = ".new-"
_NOT_PINNED = ("notify", "retention", "after", "tags")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def with_pinned(pinned: Mapping[str, JsonValue] | None, present: Spec) -> Spec:
    """Return the spec that was `pinned`, with what is no run's own business (whom to tell, what to
    keep) as in `present`.

    :raises ValidationError: it is no such spec.
    """
    if pinned is None:
        return present
    kept = present.model_dump(mode="json", include=set(_NOT_PINNED))
    return type(present).model_validate({**pinned, **kept})


class Snapshots:
    """The snapshots below one folder. Several processes may use it at once."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._folder = folder
        self._limits = limits or Limits()

    def path(self, digest: str) -> Path:
        """Return the folder that holds the files of the snapshot `digest`."""
        return self._folder / digest.removeprefix("sha256:") / "files"

    def pinned_spec(self, digest: str) -> dict[str, JsonValue] | None:
        """Return what was pinned of a spec with the snapshot `digest`, if anything was. Blocks."""
        try:
            pinned = json.loads((self.path(digest).parent / "spec.json").read_bytes())
        except FileNotFoundError:
            return None
        return pinned if isinstance(pinned, dict) else None

    async def pin(self, pin: Pin, spec: Spec | None = None) -> Snapshot:
        """Copy the files that `pin` names, or find them already there, for runs of `spec`.

        :raises InvalidInput: a file it names is not there any more.
        :raises TooLarge: they are too many or too large.
        :raises Unavailable: there is no space; nothing is left of the try.
        """
        return await asyncio.to_thread(self._pin, pin, _encode(spec) if spec is not None else None)

    async def hold(self, digest: str) -> None:
        """Keep a snapshot from being collected until what needs it now is stored.

        :raises Conflict: it is not there any more.
        """
        try:
            await asyncio.to_thread(os.utime, self.path(digest).parent)
        except FileNotFoundError as error:
            raise Conflict(
                "The input files of this run are not kept any more. Make the job anew."
            ) from error

    async def collect(self, needed: AbstractSet[str], *, older_than_seconds: float = 3600) -> int:
        """Delete snapshots not in `needed`, by digest, that nobody pinned lately.

        What was pinned lately may be about to be stored, so `older_than_seconds` must exceed the
        time between the two. Returns how many went.
        """
        return await asyncio.to_thread(self._collect, needed, time.time() - older_than_seconds)

    def _pin(self, pin: Pin, spec: bytes | None) -> Snapshot:
        new = self._folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            (new / "files").mkdir(mode=0o700, parents=True)
            copier = Copier(new / "files", self._limits, leave_out=self._folder.parent)
            copier.copy(pin)
            manifest = _manifest(copier, spec)
            digest = hashlib.sha256(manifest).hexdigest()
            _write(new / "manifest.json", manifest)
            if spec is not None:
                _write(new / "spec.json", spec)
            copier.sync()
            _sync_folder(new)
            self._keep(new, self._folder / digest)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise Unavailable(
                    "There is no disk space left to keep the input files. Free some and try again."
                ) from error
            raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return Snapshot(
            digest=f"sha256:{digest}",
            taken_at=datetime.now(UTC),
            files=len(copier.files),
            size_bytes=copier.size_bytes,
            skipped=copier.skipped(),
        )

    def _keep(self, new: Path, final: Path) -> None:
        with self._locked(fcntl.LOCK_SH):
            if not final.exists():
                try:
                    new.rename(final)
                except OSError as error:
                    # Another process was first with the same content.
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
            os.utime(final)
        _sync_folder(self._folder)

    def _collect(self, needed: AbstractSet[str], before: float) -> int:
        doomed = []
        for entry in list(os.scandir(self._folder)):
            is_temporary = entry.name.startswith(_TEMPORARY)
            if not entry.is_dir(follow_symlinks=False) or f"sha256:{entry.name}" in needed:
                continue
            with self._locked(fcntl.LOCK_EX):
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    trash = self._folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
                    Path(entry.path).rename(trash)
                    doomed.append((trash, is_temporary))
        for trash, _ in doomed:
            shutil.rmtree(trash, ignore_errors=True)
        return sum(not is_temporary for _, is_temporary in doomed)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def _encode(spec: Spec) -> bytes:
    document = spec.model_dump(mode="json", exclude=set(_NOT_PINNED))
    return json.dumps(document, ensure_ascii=True, sort_keys=True).encode()


def _manifest(copier: Copier, spec: bytes | None) -> bytes:
    files = [
        {"path": path, "sha256": file.digest, "size": file.size_bytes, "executable": file.runs}
        for path, file in sorted(copier.files.items())
    ]
    document = {"version": 1, "spec": spec and hashlib.sha256(spec).hexdigest(), "files": files}
    # Names that are not UTF-8 are kept as the surrogates that Python reads them as.
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
