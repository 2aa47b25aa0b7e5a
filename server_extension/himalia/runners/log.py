"""A log that never fills the disk, in which a byte keeps its position for ever.

It is a folder of segments, each named by the position of its first byte. When the newest one is
full a new one begins, and the oldest beyond the cap goes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

LIMIT_BYTES = 20 * 2**20
"""The cap where no other one is given."""
_SEGMENTS = 5


@dataclass(slots=True)
class LogWriter:
    """The one writer of a log."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES
    _file: int = -1
    _left: int = 0
    _position: int = field(default=0)

    def write(self, text: str) -> None:
        """Append text; a full disk drops it."""
        data = text.encode("utf-8", "replace")
        try:
            while data:
                if self._left <= 0:
                    self._begin_segment()
                part = data[: self._left]
                written = os.write(self._file, part)
                self._position += written
                self._left -= written
                data = data[written:]
        except OSError:
            # The log is the last thing to fail a run for: its end has its own reason.
            return

    def line(self, text: str) -> None:
        """Append a line of the runner's own."""
        self.write(f"[himalia] {text}\n")

    def _begin_segment(self) -> None:
        known = _segments(self.folder)
        if self._file < 0 and known:
            start, path = known[-1]
            self._position = start + path.stat().st_size
        if self._file >= 0:
            os.close(self._file)
        path = self.folder / f"{self._position:020d}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._left = max(1, self.limit_bytes // _SEGMENTS)
        for _, old in _segments(self.folder)[:-_SEGMENTS]:
            old.unlink(missing_ok=True)


def read_log(folder: Path, *, offset: int, limit: int) -> tuple[bytes, int, int]:
    """Return bytes, the position of the first of them and the position after the last.

    A negative offset counts from the end; one that rotation has passed begins at what is left.
    """
    known = _segments(folder)
    if not known:
        return b"", 0, 0
    sizes = [(start, path, path.stat().st_size) for start, path in known]
    end = sizes[-1][0] + sizes[-1][2]
    begin = max(0, end + offset) if offset < 0 else min(offset, end)
    begin = max(begin, sizes[0][0])
    parts: list[bytes] = []
    position = begin
    for start, path, size in sizes:
        wanted = begin + limit - position
        if wanted <= 0 or position >= start + size:
            continue
        with path.open("rb") as file:
            file.seek(position - start)
            parts.append(file.read(wanted))
        position += len(parts[-1])
    return b"".join(parts), begin, position


def _segments(folder: Path) -> list[tuple[int, Path]]:
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.isdigit())
    except FileNotFoundError:
        return []
    return [(int(name), folder / name) for name in names]
