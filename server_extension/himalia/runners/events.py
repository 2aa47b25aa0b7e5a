"""The cell events of an attempt, one JSON object a line, and the progress they add up to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READ = 2**20


class EventWriter:
    """The one writer of an attempt's events."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    def total(self, cells: int) -> None:
        """Say how many cells will be run."""
        self._append({"total": cells})

    def cell(self, event: dict[str, Any]) -> None:
        """Say that a cell began or ended."""
        self._append(event)

    def _append(self, value: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(value, ensure_ascii=True).encode() + b"\n")


def read_events(path: Path, *, after: int) -> tuple[list[dict[str, Any]], int]:
    """Return complete lines after byte position `after`, and the position after them."""
    try:
        with path.open("rb") as file:
            file.seek(after)
            data = file.read(_READ)
    except FileNotFoundError:
        return [], after
    complete = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in complete.splitlines()], after + len(complete)


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return all that happened to cells so far."""
    found: list[dict[str, Any]] = []
    position = 0
    while True:
        events, after = read_events(path, after=position)
        if after == position:
            return [event for event in found if "index" in event]
        found += events
        position = after


@dataclass(slots=True)
class ProgressCount:
    """Progress, counted on as events come."""

    position: int = 0
    done: int = 0
    total: int = 0
    current: int | None = None

    def read(self, path: Path) -> None:
        """Count what was added since the last call."""
        while True:
            events, position = read_events(path, after=self.position)
            for event in events:
                self._count(event)
            if position == self.position:
                return
            self.position = position

    def _count(self, event: dict[str, Any]) -> None:
        if "total" in event:
            self.total = event["total"]
        elif event["state"] == "running":
            self.current = event["index"]
        else:
            self.done += event["state"] == "done"
            self.current = None
