"""Premises that this process may touch itself: one state folder, read and written in threads."""

from __future__ import annotations

import asyncio
import heapq
import os
import shutil
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from typing_extensions import override

from himalia.core.homes import HomeUse, own_gauge
from himalia.core.model import Snapshot, Workload
from himalia.core.names import is_id
from himalia.core.pinning import Limits
from himalia.core.places import Places
from himalia.core.premises import Premises
from himalia.core.snapshots import Snapshots, with_pinned
from himalia.core.spec import Parameters, Spec
from himalia.kinds.registry import Kinds


class LocalPremises(Premises):
    """The same state folder for every owner: that of whoever runs this process."""

    def __init__(self, places: Places, kinds: Kinds, limits: Limits | None = None) -> None:
        self._places = places
        self.home = _own_home
        self._kinds = kinds
        self._snapshots = Snapshots(places.snapshots, limits)

    @override
    async def pin(self, owner: str, kind: str, spec: Spec, root: Path) -> Snapshot | None:
        pin = await asyncio.to_thread(self._kinds.of(kind).check, spec, root)
        return await self._snapshots.pin(pin, spec) if pin is not None else None

    @override
    async def check_parameters(self, workload: Workload[Spec], parameters: Parameters) -> None:
        digest = workload.snapshot.digest if workload.snapshot else None
        files = self._snapshots.path(digest) if digest else None
        kind = self._kinds.of(workload.kind)
        await asyncio.to_thread(kind.check_parameters, workload, parameters, files)

    @override
    async def hold(self, owner: str, digest: str) -> None:
        await self._snapshots.hold(digest)

    @override
    async def spec(self, owner: str, digest: str, present: Spec) -> Spec:
        pinned = await asyncio.to_thread(self._snapshots.pinned_spec, digest)
        return with_pinned(pinned, present)

    @override
    async def outputs(self, owner: str, run_id: str, attempt: int) -> Path:
        return self._places.runs / run_id / str(attempt) / "outputs"

    @override
    async def owners(self) -> Sequence[str]:
        return ("",)

    @override
    async def runs(self, owner: str, *, after: str, limit: int) -> Sequence[str]:
        names = await asyncio.to_thread(_names, self._places.runs)
        return heapq.nsmallest(limit, (name for name in names if is_id(name) and name > after))

    @override
    async def attempts(self, owner: str, run_id: str) -> Sequence[int]:
        names = await asyncio.to_thread(_names, self._places.runs / run_id)
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    @override
    async def remove(self, owner: str, run_id: str) -> None:
        with suppress(OSError):
            await asyncio.to_thread((self._places.runs / run_id).rmdir)

    @override
    async def collect(self, owner: str, needed: AbstractSet[str]) -> int:
        return await self._snapshots.collect(needed)

    @override
    async def free_bytes(self, owner: str) -> int:
        return (await asyncio.to_thread(shutil.disk_usage, self._places.home)).free

    @override
    async def hand_over(
        self, owner: str, heir: str, digests: Iterable[str], run_ids: Iterable[str]
    ) -> None:
        """Do nothing: it is here, whoever it belongs to."""


async def _own_home(_owner: str) -> HomeUse:
    return await own_gauge().read()


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted
    except OSError:
        return []
