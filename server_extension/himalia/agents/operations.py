"""What an agent does when it is asked, with a backend and premises of this machine."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from himalia.agents import messages as m
from himalia.agents.moving import Box, pack
from himalia.backends.base import AttemptRef, Observation, Phase
from himalia.backends.local.backend import LocalBackend
from himalia.backends.local.home import HomeBackend
from himalia.backends.local.limits import LocalLimits
from himalia.core.errors import InvalidInput, NotFound, Unavailable
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Progress, Reason, Workload
from himalia.core.pinning import Limits
from himalia.core.places import Places
from himalia.core.snapshots import Snapshots
from himalia.core.spec import Spec
from himalia.kinds.base import RunPlan
from himalia.kinds.registry import load_kinds

_log = logging.getLogger(__name__)

_EVENTS_AT_ONCE = 5_000
_LISTED_BYTES = 2**22
_MAX_OPEN = 64
_LOOK_AGAIN_SECONDS = (0.0, 0.2, 1.0)
"""A file that another machine has just replaced cannot be read for a moment."""
_OBSERVATION = TypeAdapter(Observation)
_PLAN = TypeAdapter(RunPlan)
_OWNER = ""
"""An agent has one owner, and does not care what its name is."""
_M = TypeVar("_M", bound=BaseModel)


class Operations:
    """One method for each thing that can be asked."""

    def __init__(self, opening: m.Opening) -> None:
        self._places = Places(home=Path(opening.state))
        self._kinds = load_kinds()
        self._backend = _backend(opening, self._places)
        limits = Limits(max_bytes=opening.max_bytes, max_files=opening.max_files)
        self._premises = LocalPremises(self._places, self._kinds, limits)
        self._open: dict[int, AsyncIterator[bytes]] = {}
        self._boxes: dict[int, Box] = {}
        self._known: Mapping[str, Callable[[Any], Awaitable[BaseModel]]] = {
            "start": _taking(m.Start, self._start),
            "observe": _taking(m.AttemptNames, self._observe),
            "stop": _taking(m.AttemptName, self._stop),
            "conclude": _taking(m.Conclude, self._conclude),
            "remove": _taking(m.AttemptName, self._remove),
            "log": _taking(m.ReadLog, self._log),
            "events": _taking(m.ReadEvents, self._events),
            "outputs": _taking(m.AttemptName, self._outputs),
            "open_output": _taking(m.OpenOutput, self._open_output),
            "read_output": _taking(m.Handle, self._read_output),
            "close_output": _taking(m.Handle, self._close_output),
            "environments": _taking(m.Nothing, self._environments),
            "pool": _taking(m.Nothing, self._pool),
            "running": _taking(m.Nothing, self._running),
            "changes": _taking(m.Nothing, self._changes),
            "pin": _taking(m.Pin, self._pin),
            "check_parameters": _taking(m.CheckParameters, self._check_parameters),
            "hold": _taking(m.Snapshot, self._hold),
            "spec": _taking(m.Snapshot, self._spec),
            "runs": _taking(m.Runs, self._runs),
            "attempts": _taking(m.RunName, self._attempts),
            "remove_run": _taking(m.RunName, self._remove_run),
            "collect": _taking(m.Needed, self._collect),
            "free_bytes": _taking(m.Nothing, self._free_bytes),
            "home": _taking(m.Nothing, self._home),
            "pack": _taking(m.Parcel, self._pack),
            "unpack": _taking(m.Parcel, self._unpack),
            "put": _taking(m.Put, self._put),
        }

    async def open(self) -> None:
        """Make the owner's folders."""
        self._places.prepare_files()
        await self._backend.open()

    async def close(self) -> None:
        """Let go of everything; what runs goes on."""
        await self._backend.close()

    async def do(self, what: str, asked: Any) -> BaseModel:
        """Do one thing (:raises HimaliaError: as backend and premises do)."""
        known = self._known.get(what)
        if known is None:
            raise NotFound(f"An agent cannot {what!r}.")
        return await known(asked)

    # Attempts

    async def _start(self, asked: m.Start) -> BaseModel:
        plan = _PLAN.validate_python(asked.plan.model_dump())
        await self._backend.start(_ref(asked), plan)
        return m.Nothing()

    async def _observe(self, asked: m.AttemptNames) -> BaseModel:
        return m.Sight(items=tuple([await self._look(item) for item in asked.items]))

    async def _look(self, name: m.AttemptName) -> m.Seen:
        ref = _ref(name)
        for pause in _LOOK_AGAIN_SECONDS:
            await asyncio.sleep(pause)
            try:
                return _seen(name, (await self._backend.observe([ref]))[ref])
            except Exception:  # noqa: BLE001 - logged; one folder's trouble is not the others'
                _log.exception("observing %s", ref.name)
        reason = Reason(
            code="attempts_lost",
            message="What is in the attempt's folder cannot be read.",
            next_step="Run it again.",
        )
        return _seen(name, Observation(phase=Phase.LOST, progress=Progress(), reason=reason))

    async def _stop(self, asked: m.AttemptName) -> BaseModel:
        await self._backend.stop(_ref(asked))
        return m.Nothing()

    async def _conclude(self, asked: m.Conclude) -> BaseModel:
        if not isinstance(self._backend, HomeBackend):
            raise NotFound("Attempts here end by themselves.")
        ref = _ref(asked)
        await self._backend.conclude(ref, asked.reason, is_gone=asked.is_gone)
        look = self._backend.ended if asked.is_gone else self._backend.look
        return _seen(asked, await look(ref))

    async def _remove(self, asked: m.AttemptName) -> BaseModel:
        await self._backend.remove(_ref(asked))
        return m.Nothing()

    async def _log(self, asked: m.ReadLog) -> BaseModel:
        part = await self._backend.log(_ref(asked), offset=asked.offset, limit=asked.limit)
        return m.SaidLog(
            data=base64.b64encode(part.data).decode(),
            offset=part.offset,
            next_offset=part.next_offset,
        )

    async def _events(self, asked: m.ReadEvents) -> BaseModel:
        if asked.after >= m.MAX_EVENTS:
            return m.SaidEvents(items=(), position=m.MAX_EVENTS)
        events, _ = await self._backend.events(_ref(asked), after=asked.after)
        taken = events[: min(_EVENTS_AT_ONCE, m.MAX_EVENTS - asked.after)]
        items = tuple(m.SaidEvent.model_validate(event.model_dump()) for event in taken)
        return m.SaidEvents(items=items, position=asked.after + len(items))

    async def _outputs(self, asked: m.AttemptName) -> BaseModel:
        items, size = [], 0
        for output in await self._backend.outputs(_ref(asked)):
            # What cannot be told is left out, so that the rest can be.
            with suppress(ValidationError):
                items.append(m.SaidOutput.model_validate(output.model_dump()))
            size += len(output.name) * 4 + 200
            if size > _LISTED_BYTES or len(items) == m.MAX_NAMES:
                break
        return m.SaidOutputs(items=tuple(items))

    async def _open_output(self, asked: m.OpenOutput) -> BaseModel:
        if len(self._open) >= _MAX_OPEN:
            await self._close_output(m.Handle(handle=next(iter(self._open))))
        parts = self._backend.read_output(_ref(asked), asked.name)
        first = await anext(parts, None)
        return self._keep(_again(first, parts))

    async def _read_output(self, asked: m.Handle) -> BaseModel:
        parts = self._open.get(asked.handle)
        if parts is None:
            raise NotFound("This output is not open any more.")
        data = await anext(parts, b"")
        return m.Part(data=base64.b64encode(data).decode())

    async def _close_output(self, asked: m.Handle) -> BaseModel:
        parts: Any = self._open.pop(asked.handle, None)
        if parts is not None:
            await parts.aclose()
        return m.Nothing()

    async def _environments(self, _: m.Nothing) -> BaseModel:
        found = await self._backend.environments(_OWNER)
        items = (m.SaidEnvironment.model_validate(item.model_dump()) for item in found)
        return m.SaidEnvironments(items=tuple(items)[: m.MAX_NAMES])

    async def _pool(self, _: m.Nothing) -> BaseModel:
        pool = await self._backend.pool(_OWNER)
        return m.SaidPool.model_validate(pool.model_dump() if pool else m.NO_POOL)

    async def _running(self, _: m.Nothing) -> BaseModel:
        found = await self._backend.running(_OWNER)
        return m.AttemptNames(
            items=tuple(m.AttemptName(run_id=ref.run_id, attempt=ref.attempt) for ref in found)
        )

    async def _changes(self, _: m.Nothing) -> BaseModel:
        await self._backend.changes()
        return m.Nothing()

    # Files

    async def _pin(self, asked: m.Pin) -> BaseModel:
        spec = self._kinds.decode_spec(asked.kind, asked.spec)
        snapshot = await self._premises.pin(_OWNER, asked.kind, spec, Path(asked.root))
        return m.SaidSnapshot.model_validate(snapshot.model_dump() if snapshot else {})

    async def _check_parameters(self, asked: m.CheckParameters) -> BaseModel:
        workload = self._workload(asked.kind, asked.workload)
        await self._premises.check_parameters(workload, asked.parameters)
        return m.Nothing()

    def _workload(self, kind: str, said: JsonValue) -> Workload[Spec]:
        if not isinstance(said, dict):
            raise InvalidInput("This is no workload.")
        spec = self._kinds.decode_spec(kind, said["spec"])
        return Workload[Spec].model_validate({**said, "spec": spec})

    async def _hold(self, asked: m.Snapshot) -> BaseModel:
        await self._premises.hold(_OWNER, asked.digest)
        return m.Nothing()

    async def _spec(self, asked: m.Snapshot) -> BaseModel:
        snapshots = Snapshots(self._places.snapshots)
        return m.SaidSpec(spec=await asyncio.to_thread(snapshots.pinned_spec, asked.digest))

    async def _runs(self, asked: m.Runs) -> BaseModel:
        return m.SaidIds(
            items=tuple(await self._premises.runs(_OWNER, after=asked.after, limit=asked.limit))
        )

    async def _attempts(self, asked: m.RunName) -> BaseModel:
        numbers = await self._premises.attempts(_OWNER, asked.run_id)
        fit = (number for number in numbers if 1 <= number <= m.MAX_ATTEMPT)
        return m.SaidNumbers(items=tuple(fit)[: m.MAX_NAMES])

    async def _remove_run(self, asked: m.RunName) -> BaseModel:
        await self._premises.remove(_OWNER, asked.run_id)
        return m.Nothing()

    async def _collect(self, asked: m.Needed) -> BaseModel:
        needed = frozenset(asked.digests)
        return m.SaidCount(count=await self._premises.collect(_OWNER, needed))

    async def _free_bytes(self, _: m.Nothing) -> BaseModel:
        return m.SaidCount(count=await self._premises.free_bytes(_OWNER))

    async def _home(self, _: m.Nothing) -> BaseModel:
        return await self._premises.home(_OWNER)

    # From one owner to another

    async def _pack(self, asked: m.Parcel) -> BaseModel:
        return self._keep(_in_thread(pack(self._places, asked.name)))

    async def _unpack(self, asked: m.Parcel) -> BaseModel:
        for box in self._boxes.values():
            # One at a time; another was left half done.
            await asyncio.to_thread(box.drop)
        handle = secrets.randbits(48)
        self._boxes = {handle: await asyncio.to_thread(Box, self._places, asked.name)}
        return m.Handle(handle=handle)

    async def _put(self, asked: m.Put) -> BaseModel:
        box = self._boxes.get(asked.handle)
        if box is None:
            raise NotFound("This is not being unpacked any more.")
        data = base64.b64decode(asked.data)
        try:
            if data:
                await asyncio.to_thread(box.put, data)
            else:
                await asyncio.to_thread(box.finish)
        except OSError as error:
            raise Unavailable(f"It cannot be kept: {error.strerror}.") from error
        return m.Nothing()

    def _keep(self, parts: AsyncIterator[bytes]) -> m.Handle:
        """Keep something open that is read part by part."""
        handle = secrets.randbits(48)
        self._open[handle] = parts
        return m.Handle(handle=handle)


async def _in_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while data := await asyncio.to_thread(next, parts, b""):
        yield data


def _taking(
    model: type[_M], do: Callable[[_M], Awaitable[BaseModel]]
) -> Callable[[Any], Awaitable[BaseModel]]:
    async def read_and_do(asked: Any) -> BaseModel:
        return await do(model.model_validate(asked))

    return read_and_do


def _backend(opening: m.Opening, places: Places) -> LocalBackend | HomeBackend:
    if opening.runs_elsewhere:
        return HomeBackend(
            places,
            memory_bytes=opening.memory_bytes,
            log_limit_bytes=opening.log_limit_bytes,
        )
    return LocalBackend(
        places,
        limits=LocalLimits(memory_bytes=opening.memory_bytes, processes=opening.processes),
        pool_size=opening.pool_size,
        pool_idle_seconds=opening.pool_idle_seconds,
        log_limit_bytes=opening.log_limit_bytes,
    )


def _ref(name: m.AttemptName) -> AttemptRef:
    return AttemptRef(owner=_OWNER, run_id=name.run_id, attempt=name.attempt)


def _seen(name: m.AttemptName, found: Observation) -> m.Seen:
    said = _OBSERVATION.dump_python(found)
    return m.Seen.model_validate({**said, "run_id": name.run_id, "attempt": name.attempt})


async def _again(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first is not None:
        yield first
    async for part in rest:
        yield part
