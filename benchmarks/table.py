"""Medians, and the table that they are shown in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Table:
    """Rows of Markdown, printed as they come."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def show(self) -> None:
        """Print the table."""
        print(f"\n## {self.title}\n")
        for row in (self.head, tuple("---" for _ in self.head), *self.rows):
            print("| " + " | ".join(row) + " |", flush=True)


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def repeated(count: int, once: Callable[[], float]) -> float:
    """Return the median of what `once` returns, after one try that does not count."""
    once()
    return median([once() for _ in range(count)])


@contextmanager
def clock() -> Iterator[Callable[[], float]]:
    """Give a function that says how many seconds have passed."""
    begin = time.perf_counter()
    yield lambda: time.perf_counter() - begin


def milliseconds(seconds: float) -> str:
    """Write a duration."""
    return f"{seconds * 1000:.1f} ms"


def ratio(ours: float, theirs: float) -> str:
    """Say how many times larger `theirs` is."""
    return f"{theirs / ours:.1f} times"
