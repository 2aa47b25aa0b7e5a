"""How many wrong passwords are let through, for whom and from where, within a time."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_MOST_KEPT = 20_000
"""Accounts, addresses and browsers that are remembered; each costs some 200 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many attempts at once, and as many more in each further time of that length."""

    attempts: int
    seconds: float


class Attempts:
    """Counts attempts by what they are counted for, in memory that does not grow."""

    def __init__(
        self, *, most_kept: int = _MOST_KEPT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_kept = most_kept
        self._clock = clock
        self._free_at: OrderedDict[bytes, float] = OrderedDict()
        """When each would have nothing against it again."""

    def __len__(self) -> int:
        return len(self._free_at)

    def take(self, wanted: Mapping[tuple[str, ...], Allowance]) -> int:
        """Count one attempt for all of `wanted`, or for none.

        :returns: seconds to wait where one of them has had too many; otherwise 0.
        """
        now = self._clock()
        waits = [self._wait(_digest(key), its, now) for key, its in wanted.items()]
        longest = max(waits, default=0.0)
        if longest > 0:
            return math.ceil(longest)
        for key, its in wanted.items():
            digest = _digest(key)
            self._free_at[digest] = max(self._free_at.get(digest, now), now) + _pace(its)
            self._free_at.move_to_end(digest)
        while len(self._free_at) > self._most_kept:
            self._free_at.popitem(last=False)
        return 0

    def give_back(self, wanted: Mapping[tuple[str, ...], Allowance]) -> None:
        """Take an attempt back that was none: the password was right."""
        for key, its in wanted.items():
            digest = _digest(key)
            if digest in self._free_at:
                self._free_at[digest] -= _pace(its)

    def _wait(self, digest: bytes, its: Allowance, now: float) -> float:
        free_at = self._free_at.get(digest, now)
        if free_at <= now:
            self._free_at.pop(digest, None)
            return 0.0
        return free_at + _pace(its) - its.seconds - now


def _pace(its: Allowance) -> float:
    return its.seconds / its.attempts


def _digest(key: tuple[str, ...]) -> bytes:
    """Return what stands for a key, however long a name in it may be."""
    text = "\0".join(key).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
