"""The backend of a hub's machine: each owner's attempts are run by the owner's agent."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import ClassVar

from typing_extensions import override

from himalia.agents import messages as m
from himalia.agents.fleet import Agents, failure
from himalia.backends.base import (
    AttemptRef,
    Backend,
    LogPart,
    Observation,
    Outcome,
    Phase,
    Refused,
)
from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.model import (
    CellEvent,
    Environment,
    Output,
    PoolStatus,
    Progress,
    Reason,
    ResourceUse,
    Versions,
)
from himalia.kinds.base import RunPlan

_log = logging.getLogger(__name__)

_MAX_PART = 2**20
_LOOKS_AT_ONCE = 4
"""At one owner's runs; more only pile up behind an agent that does not answer."""


class AgentBackend(Backend):
    """Attempts as process groups on this machine, under their owners' accounts."""

    name: ClassVar[str] = "local"

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._looks: dict[tuple[AttemptRef, ...], asyncio.Task[dict[AttemptRef, Observation]]] = {}
        self._silences: dict[str, str] = {}

    @override
    async def open(self) -> None:
        """Do nothing: agents start on demand."""

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        asked = m.Start(**_name(ref), plan=_prepared(plan))
        try:
            await self._agents.ask(ref.owner, "start", asked, m.Nothing)
        except Unavailable as error:
            reason = self._agents.broken(ref.owner)
            if reason is None:
                raise
            raise Refused(reason) from error
        except HimaliaError as error:
            raise Refused(failure(error.message)) from error

    @override
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        by_owner: dict[str, list[AttemptRef]] = {}
        for ref in refs:
            by_owner.setdefault(ref.owner, []).append(ref)
        looks = [self._look(owner, tuple(some)) for owner, some in by_owner.items()]
        tasks = {look for look in looks if look is not None}
        if tasks:
            # One that is slow goes on alone; what it sees is for who looks next.
            await asyncio.wait(tasks, timeout=self._agents.settings.look_seconds)
        seen: dict[AttemptRef, Observation] = {}
        for task in tasks:
            if task.done() and not task.cancelled():
                seen.update(task.result())
        return seen

    @override
    def silence(self, owner: str) -> str:
        return self._silences.get(owner, "")

    @override
    async def changes(self) -> frozenset[str] | None:
        return await self._agents.changes()

    @override
    async def stop(self, ref: AttemptRef) -> None:
        await self._agents.ask(ref.owner, "stop", m.AttemptName(**_name(ref)), m.Nothing)

    @override
    async def remove(self, ref: AttemptRef) -> None:
        await self._agents.ask(ref.owner, "remove", m.AttemptName(**_name(ref)), m.Nothing)

    @override
    async def log(self, ref: AttemptRef, *, offset: int, limit: int) -> LogPart:
        asked = m.ReadLog(**_name(ref), offset=offset, limit=limit)
        said = await self._agents.ask(ref.owner, "log", asked, m.SaidLog)
        # However much it says, it is not more than was asked for.
        data = base64.b64decode(said.data)[:limit]
        return LogPart(data=data, offset=said.offset, next_offset=said.offset + len(data))

    @override
    async def events(self, ref: AttemptRef, *, after: int) -> tuple[tuple[CellEvent, ...], int]:
        asked = m.ReadEvents(**_name(ref), after=after)
        said = await self._agents.ask(ref.owner, "events", asked, m.SaidEvents)
        items = said.items[: max(m.MAX_EVENTS - after, 0)]
        # Counted here: a position that runs ahead would have its reader go on for ever.
        events = tuple(CellEvent(**item.model_dump()) for item in items)
        return events, after + len(events)

    @override
    async def outputs(self, ref: AttemptRef) -> tuple[Output, ...]:
        asked = m.AttemptName(**_name(ref))
        said = await self._agents.ask(ref.owner, "outputs", asked, m.SaidOutputs)
        return tuple(Output(**item.model_dump()) for item in said.items)

    @override
    async def read_output(self, ref: AttemptRef, name: str) -> AsyncIterator[bytes]:
        owner = ref.owner
        asked = m.OpenOutput(**_name(ref), name=name)
        handle = await self._agents.ask(owner, "open_output", asked, m.Handle)
        try:
            while True:
                part = await self._agents.ask(owner, "read_output", handle, m.Part)
                data = base64.b64decode(part.data)
                if not data or len(data) > _MAX_PART:
                    return
                yield data
        finally:
            with suppress(HimaliaError):
                await self._agents.ask(owner, "close_output", handle, m.Nothing)

    @override
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        said = await self._agents.ask(owner, "running", m.Nothing(), m.AttemptNames)
        return tuple(
            AttemptRef(owner=owner, run_id=item.run_id, attempt=item.attempt)
            for item in said.items[: m.MAX_NAMES]
        )

    @override
    async def environments(self, owner: str) -> tuple[Environment, ...]:
        said = await self._agents.ask(owner, "environments", m.Nothing(), m.SaidEnvironments)
        return tuple(Environment(**item.model_dump()) for item in said.items)

    @override
    async def pool(self, owner: str) -> PoolStatus | None:
        if owner not in self._agents.owners():
            # Nothing is kept ready by nobody, and no agent is started to say so.
            return None
        said = await self._agents.ask(owner, "pool", m.Nothing(), m.SaidPool)
        return PoolStatus(**said.model_dump())

    @override
    async def close(self) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await self._agents.close()

    def _look(
        self, owner: str, refs: tuple[AttemptRef, ...]
    ) -> asyncio.Task[dict[AttemptRef, Observation]] | None:
        """Return a look at some runs of one owner: the one that is on, or a new one."""
        look = self._looks.get(refs)
        if look is not None:
            return look
        if sum(known[0].owner == owner for known in self._looks) >= _LOOKS_AT_ONCE:
            return None
        look = asyncio.create_task(self._see(owner, refs), name=f"look for {owner}")
        self._looks[refs] = look
        look.add_done_callback(lambda _: self._looks.pop(refs, None))
        return look

    async def _see(self, owner: str, refs: tuple[AttemptRef, ...]) -> dict[AttemptRef, Observation]:
        asked = m.AttemptNames(items=tuple(m.AttemptName(**_name(ref)) for ref in refs))
        try:
            said = await self._agents.ask(owner, "observe", asked, m.Sight)
        except HimaliaError as error:
            reason = self._agents.broken(owner)
            if reason is None and isinstance(error, Unavailable):
                self._silences[owner] = error.message
                return {}
            lost = Observation(phase=Phase.LOST, reason=reason or failure(error.message))
            return dict.fromkeys(refs, lost)
        self._silences.pop(owner, None)
        known = {(ref.run_id, ref.attempt): ref for ref in refs}
        return {
            known[item.run_id, item.attempt]: observation(item)
            for item in said.items
            if (item.run_id, item.attempt) in known
        }


def _prepared(plan: RunPlan) -> m.Plan:
    """Return of a plan what the folder of an attempt is made from."""
    said = asdict(plan)
    # By what else the run is given, its machine was chosen.
    del said["profile"]
    return m.Plan(**said)


def _name(ref: AttemptRef) -> dict[str, str | int]:
    return {"run_id": ref.run_id, "attempt": ref.attempt}


def observation(said: m.Seen) -> Observation:
    """Return what an agent saw, in the words of backends."""
    outcome = None
    if said.outcome is not None:
        outcome = Outcome(
            status=said.outcome.status,
            reason=Reason(**said.outcome.reason.model_dump()) if said.outcome.reason else None,
            use=ResourceUse(**said.outcome.use.model_dump()),
            versions=Versions(**said.outcome.versions.model_dump()),
        )
    return Observation(
        phase=Phase(said.phase),
        progress=Progress(**said.progress.model_dump()),
        started_at=said.started_at,
        ended_at=said.ended_at,
        outcome=outcome,
        reason=Reason(**said.reason.model_dump()) if said.reason else None,
    )
