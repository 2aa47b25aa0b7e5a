"""The premises of a hub's machine: each owner's files, behind the owner's agent."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from typing_extensions import override

from himalia.agents import messages as m
from himalia.agents.fleet import Agents
from himalia.agents.homes import ask_home
from himalia.backends.base import Refused
from himalia.core.errors import HimaliaError, InvalidInput, NotFound, Unavailable
from himalia.core.model import Snapshot, Workload
from himalia.core.places import Places
from himalia.core.premises import Premises
from himalia.core.snapshots import with_pinned
from himalia.core.spec import Parameters, Spec


class AgentPremises(Premises):
    """Files, by owner, through agents."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self.home = partial(ask_home, agents)

    @override
    async def pin(self, owner: str, kind: str, spec: Spec, root: Path) -> Snapshot | None:
        asked = m.Pin(kind=kind, spec=spec.model_dump(mode="json"), root=str(root))
        seconds = self._agents.settings.pin_seconds
        said = await self._agents.ask(owner, "pin", asked, m.SaidSnapshot, seconds=seconds)
        if said.digest is None:
            return None
        return Snapshot.model_validate(said.model_dump())

    @override
    async def check_parameters(self, workload: Workload[Spec], parameters: Parameters) -> None:
        if not parameters:
            return
        document = workload.model_dump(mode="json", exclude={"last_run"})
        asked = m.CheckParameters(kind=workload.kind, workload=document, parameters=parameters)
        await self._agents.ask(workload.owner, "check_parameters", asked, m.Nothing)

    @override
    async def hold(self, owner: str, digest: str) -> None:
        await self._agents.ask(owner, "hold", m.Snapshot(digest=digest), m.Nothing)

    @override
    async def spec(self, owner: str, digest: str, present: Spec) -> Spec:
        try:
            said = await self._agents.ask(owner, "spec", m.Snapshot(digest=digest), m.SaidSpec)
        except Unavailable as error:
            reason = self._agents.broken(owner)
            if reason is None:
                raise
            raise Refused(reason) from error
        try:
            return with_pinned(said.spec, present)
        except ValidationError as error:
            raise InvalidInput(
                "What was pinned for this run has been changed, and cannot be read."
            ) from error

    @override
    async def outputs(self, owner: str, run_id: str, attempt: int) -> Path:
        account = await self._agents.account(owner)
        return Places(home=account.state(owner)).runs / run_id / str(attempt) / "outputs"

    @override
    async def owners(self) -> Sequence[str]:
        return self._agents.owners()

    @override
    async def runs(self, owner: str, *, after: str, limit: int) -> Sequence[str]:
        asked = m.Runs(after=after, limit=limit)
        said = await self._agents.ask(owner, "runs", asked, m.SaidIds)
        # In order and new, whatever is said: who asks for the next ones comes to an end.
        return sorted({item for item in said.items if item > after})[:limit]

    @override
    async def attempts(self, owner: str, run_id: str) -> Sequence[int]:
        said = await self._agents.ask(owner, "attempts", m.RunName(run_id=run_id), m.SaidNumbers)
        return said.items

    @override
    async def remove(self, owner: str, run_id: str) -> None:
        await self._agents.ask(owner, "remove_run", m.RunName(run_id=run_id), m.Nothing)

    @override
    async def collect(self, owner: str, needed: AbstractSet[str]) -> int:
        asked = m.Needed(digests=tuple(sorted(needed)))
        return (await self._agents.ask(owner, "collect", asked, m.SaidCount)).count

    @override
    async def free_bytes(self, owner: str) -> int:
        if owner in self._agents.owners():
            try:
                said = await self._agents.ask(owner, "free_bytes", m.Nothing(), m.SaidCount)
            except Unavailable:
                pass
            else:
                return said.count
        return await self._free_beside(owner)

    @override
    async def hand_over(
        self, owner: str, heir: str, digests: Iterable[str], run_ids: Iterable[str]
    ) -> None:
        if owner == heir:
            return
        for digest in digests:
            await self._send(owner, heir, f"snapshots/{digest.removeprefix('sha256:')}")
        for run_id in run_ids:
            await self._send(owner, heir, f"runs/{run_id}")

    async def _send(self, owner: str, heir: str, name: str) -> None:
        """Pass one thing on, part by part: neither process ever has more of it."""
        ask = self._agents.ask
        seconds = self._agents.settings.pin_seconds
        source = await ask(owner, "pack", m.Parcel(name=name), m.Handle)
        target = await ask(heir, "unpack", m.Parcel(name=name), m.Handle)
        try:
            data = "start"
            while data:
                data = (await ask(owner, "read_output", source, m.Part)).data
                put = m.Put(handle=target.handle, data=data)
                # The last one has it checked and brought to the disk.
                await ask(heir, "put", put, m.Nothing, seconds=seconds)
        except (InvalidInput, NotFound) as error:
            raise Unavailable(f"It could not be handed over: {error.message}") from error
        finally:
            with suppress(HimaliaError):
                await ask(owner, "close_output", source, m.Nothing)

    async def _free_beside(self, owner: str) -> int:
        """Look at the disk that the home lies on; no agent is started for a status."""
        try:
            home = (await self._agents.account(owner)).home
            return (await asyncio.to_thread(shutil.disk_usage, home)).free
        except (HimaliaError, OSError):
            return (await asyncio.to_thread(shutil.disk_usage, "/")).free
