"""The backend of a cluster: every attempt is one pod in its owner's namespace.

What a run is given and what it leaves lies in the owner's home, and the owner's agent looks after
that. Whether anybody executes an attempt is told by its pod alone, and by the API server itself
before it is taken for certain that nobody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from typing_extensions import override

from himalia.agents import messages as m
from himalia.agents.backend import AgentBackend, observation
from himalia.agents.fleet import Agents
from himalia.backends.base import AttemptRef, Backend, LogPart, Observation, Phase, Refused
from himalia.backends.kubernetes.api import Api, Exists, NotThere, Object, Refusal
from himalia.backends.kubernetes.denials import denied, passing
from himalia.backends.kubernetes.launching import clear_away
from himalia.backends.kubernetes.pods import RUNS, attempt_of, owner_of, run_pod
from himalia.backends.kubernetes.profiles import Profiles, granted, no_profiles
from himalia.backends.kubernetes.settings import PodSettings, Shares, no_shares
from himalia.backends.kubernetes.states import is_over, why_ending, why_gone
from himalia.backends.kubernetes.waits import Waits
from himalia.backends.kubernetes.watching import Pods, Watching
from himalia.core.errors import Conflict, HimaliaError, Unavailable
from himalia.core.model import CellEvent, Environment, Output, PoolStatus, Reason
from himalia.core.names import namespace
from himalia.core.news import News
from himalia.core.profiles import Profile
from himalia.kinds.base import RunPlan

_log = logging.getLogger(__name__)

_TRIES = 20
_JUDGE_SECONDS = 10.0
"""One attempt may take of a look at many."""
_CLEAR_SECONDS = 2.0
"""The end of a run waits for its pod to be told to go."""
_LEAVING_SECONDS = 60.0
"""A pod whose run has ended may take to be gone."""
_LOOK_SECONDS = 0.5
_IDLE_SECONDS = 2.0


class KubernetesBackend(Backend):
    """Attempts as pods, through the API server."""

    name: ClassVar[str] = "kubernetes"

    def __init__(
        self,
        agents: Agents,
        api: Api,
        settings: PodSettings,
        profiles: Profiles = no_profiles,
        shares: Shares = no_shares,
    ) -> None:
        self._agents = agents
        self._profiles = profiles
        self._shares = shares
        self._folders = AgentBackend(agents)
        self._api = api
        self._settings = settings
        self._news = News()
        self._owners: dict[str, str] = {}
        self._watching = Watching(api, self._has_news, is_of_all=settings.is_watching_all)
        self._waits = Waits(api, settings.start_seconds)
        self._known: set[str] = set()
        self._untidy: set[str] = set()
        self._silences: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _path(self, owner: str, name: str = "") -> str:
        space = namespace(owner, self._settings.prefix)
        return f"/api/v1/namespaces/{space}/pods{f'/{name}' if name else ''}"

    def _pods(self, owner: str) -> Pods:
        if owner not in self._known:
            self._known.add(owner)
            self._later(self._tidy(owner), f"tidy up after {owner}")
        space = namespace(owner, self._settings.prefix)
        self._owners[space] = owner
        return self._watching.pods(space)

    def _has_news(self, space: str) -> None:
        self._news.tell({self._owners[space]})

    def _later(self, doing: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(doing, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @override
    async def open(self) -> None:
        await self._folders.open()
        self._later(self._pass_on(), "changes in homes")
        self._later(self._look_again(), "looks at pods that do not come up")
        self._later(self._sweep(), "clear away idle agents' pods")

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        try:
            given = granted(plan.profile, await self._profiles(ref.owner) if plan.profile else ())
        except Refused:
            if (await self._look(ref)).phase is Phase.ABSENT:
                raise
            # It was started while it was allowed; what becomes of it is observed.
            return
        await self._folders.start(ref, plan)
        if (await self._look(ref)).phase is Phase.STARTING:
            # Nobody has begun. Whoever makes the pod, there is one of that name.
            settings = replace(self._settings, shares=await self._shares(ref.owner))
            await self._make(ref, run_pod(ref, plan, settings, given))

    async def _look(self, ref: AttemptRef) -> Observation:
        """Return what one folder says (:raises Unavailable:)."""
        asked = m.AttemptNames(items=(m.AttemptName(run_id=ref.run_id, attempt=ref.attempt),))
        said = await self._agents.ask(ref.owner, "observe", asked, m.Sight)
        for item in said.items:
            if (item.run_id, item.attempt) == (ref.run_id, ref.attempt):
                return observation(item)
        raise Unavailable("Your files cannot be looked at just now.")

    async def _make(self, ref: AttemptRef, manifest: Object) -> None:
        for _ in range(_TRIES):
            try:
                pod = await self._api.create(self._path(ref.owner), manifest)
            except Exists:
                found = await self._ask(ref)
                if found is not None and attempt_of(found) != ref:
                    text = f"There is a pod {ref.name} in the namespace that is somebody else's."
                    raise Refused(Reason(code="pod_refused", message=text)) from None
                if found is not None and not is_over(found, datetime.now(UTC)):
                    return
                # It ended before it began; what is to begin now is another.
                await self._delete(ref, found, grace_seconds=0)
                await asyncio.sleep(_LOOK_SECONDS)
            except Refusal as error:
                why = passing(error)
                if why is None:
                    raise Refused(denied(error)) from error
                raise Unavailable(why) from error
            else:
                self._pods(ref.owner).put(pod)
                return
        raise Unavailable("A pod of the same name does not go away.")

    @override
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        seen = await self._folders.observe(refs)
        found = await asyncio.gather(*(self._judge(ref, seen[ref]) for ref in seen))
        return {ref: one for ref, one in zip(seen, found, strict=True) if one is not None}

    async def _judge(self, ref: AttemptRef, folder: Observation) -> Observation | None:
        """Return what the folder and the pod say together, or None where nobody can tell now."""
        if folder.phase is Phase.ENDED:
            # Before anybody hears of the end: who knows it looks for no pod any more.
            await self._clear_away(ref)
        if folder.phase in (Phase.ABSENT, Phase.ENDED):
            self._waits.forget(ref)
            return folder
        try:
            async with asyncio.timeout(_JUDGE_SECONDS):
                seen = await self._compare(ref, folder)
        except (HimaliaError, Refusal, TimeoutError) as error:
            why = str(error) or "The cluster's API server does not answer in time."
            _log.info("looking at %s: %s", ref.name, why)
            self._silences[ref.owner] = why
            return None
        self._silences.pop(ref.owner, None)
        return seen

    async def _compare(self, ref: AttemptRef, folder: Observation) -> Observation:
        pod = await self._pod(ref)
        if pod is None or is_over(pod, datetime.now(UTC)):
            return await self._gone(ref, pod, folder)
        if folder.phase is Phase.LOST:
            # Files that another machine writes to are at times not to be read for a moment.
            raise Unavailable(folder.reason.message if folder.reason else "It cannot be read.")
        if folder.phase is Phase.RUNNING:
            self._waits.forget(ref)
            return replace(folder, reason=why_ending(pod))
        return await self._waiting(ref, pod, folder)

    async def _pod(self, ref: AttemptRef) -> Object | None:
        """Return the pod of an attempt; that it is gone or over, the API server itself says."""
        known = self._pods(ref.owner).there.get(ref.name)
        if known is not None and not is_over(known, datetime.now(UTC)):
            return known
        return await self._ask(ref)

    async def _ask(self, ref: AttemptRef) -> Object | None:
        pods = self._pods(ref.owner)
        try:
            pod = await self._api.get(self._path(ref.owner, ref.name))
        except NotThere:
            last = pods.there.get(ref.name)
            if last is not None:
                pods.drop(last)
            return None
        pods.put(pod)
        return pod

    async def _waiting(self, ref: AttemptRef, pod: Object, folder: Observation) -> Observation:
        reason = await self._waits.reason(ref, pod, self._path(ref.owner))
        if not self._waits.is_too_long(ref, pod):
            return replace(folder, reason=reason)
        why = self._waits.in_vain(reason)
        said = await self._conclude(ref, why, is_gone=False)
        if said.phase is Phase.ENDED:
            self._waits.forget(ref)
            await self._delete(ref, pod, grace_seconds=0)
        return said

    async def _gone(self, ref: AttemptRef, pod: Object | None, folder: Observation) -> Observation:
        self._waits.forget(ref)
        last = pod or self._pods(ref.owner).gone.get(ref.name)
        verdict = why_gone(last)
        why = verdict.reason if verdict.is_final else None
        try:
            said = await self._conclude(ref, why, is_gone=True)
        except HimaliaError as error:
            is_passing = isinstance(error, Unavailable) and not self._agents.broken(ref.owner)
            if is_passing or folder.phase is not Phase.LOST:
                raise
            # Nobody will ever read it.
            return folder
        if pod is not None:
            # All that could be learned of it is known here now.
            await self._delete(ref, pod, grace_seconds=0)
        if said.phase is Phase.LOST or (said.phase is Phase.ABSENT and pod is not None):
            return replace(said, phase=Phase.LOST, reason=verdict.reason)
        return said

    async def _conclude(
        self, ref: AttemptRef, reason: Reason | None, *, is_gone: bool
    ) -> Observation:
        asked = m.Conclude(run_id=ref.run_id, attempt=ref.attempt, reason=reason, is_gone=is_gone)
        return observation(await self._agents.ask(ref.owner, "conclude", asked, m.Seen))

    @override
    def silence(self, owner: str) -> str:
        return self._folders.silence(owner) or self._silences.get(owner, "")

    @override
    async def changes(self) -> frozenset[str] | None:
        return await self._news.wait()

    async def _pass_on(self) -> None:
        while True:
            self._news.tell(await self._folders.changes())

    async def _look_again(self) -> None:
        """Have attempts looked at whose pods do not come up: nothing else tells of time."""
        while True:
            pause = self._waits.pause_seconds
            await asyncio.sleep(pause or _IDLE_SECONDS)
            untidy, self._untidy = self._untidy, set()
            for owner in untidy:
                await self._tidy(owner)
            if pause is not None:
                self._news.tell(self._waits.owners)

    @override
    async def stop(self, ref: AttemptRef) -> None:
        # The word first: a runner that hears a signal without it does not take it for a stop.
        try:
            await self._folders.stop(ref)
        except Unavailable:
            if not self._agents.broken(ref.owner):
                raise
        pod = await self._ask(ref)
        if pod is not None:
            await self._delete(ref, pod)
        self._news.tell({ref.owner})

    @override
    async def remove(self, ref: AttemptRef) -> None:
        pod = await self._ask(ref)
        is_live = pod is not None and not is_over(pod, datetime.now(UTC))
        if is_live and (await self._look(ref)).phase is not Phase.ENDED:
            raise Conflict(f"Attempt {ref.attempt} of {ref.run_id} is still running.")
        async with asyncio.timeout(_LEAVING_SECONDS):
            while pod is not None:
                await self._delete(ref, pod)
                await asyncio.sleep(_LOOK_SECONDS)
                pod = await self._ask(ref)
        await self._folders.remove(ref)

    async def _delete(
        self, ref: AttemptRef, pod: Object | None, *, grace_seconds: int | None = None
    ) -> None:
        """Delete a pod of ours, that one and no other, with its own grace unless told otherwise."""
        if pod is None or owner_of(pod) != ref.owner:
            return
        metadata = pod["metadata"]
        if grace_seconds is None and metadata.get("deletionTimestamp"):
            return
        path = self._path(ref.owner, ref.name)
        await self._api.delete(path, grace_seconds=grace_seconds, uid=metadata["uid"])

    async def _clear_away(self, ref: AttemptRef) -> None:
        """Delete the pod of an attempt that has left its result, or have that done later."""
        try:
            async with asyncio.timeout(_CLEAR_SECONDS):
                pod = self._pods(ref.owner).there.get(ref.name) or await self._ask(ref)
                await self._delete(ref, pod)
        except (Unavailable, Refusal, TimeoutError):
            self._untidy.add(ref.owner)

    async def _tidy(self, owner: str) -> None:
        """Delete the pods whose runs ended while nobody looked."""
        try:
            listed = await self._list(owner)
        except (Unavailable, Refusal):
            self._untidy.add(owner)
            return
        refs = [
            ref
            for pod in listed
            if is_over(pod, datetime.now(UTC)) and (ref := attempt_of(pod)) is not None
        ]
        if refs:
            # Those of which the folders know no end are somebody's to be judged.
            await self.observe(refs)

    async def _sweep(self) -> None:
        """Delete what is left of agents that ended for want of anything to do."""
        while True:
            await asyncio.sleep(self._settings.agent_idle_seconds)
            for owner in self._known - set(self._agents.owners()):
                with suppress(Unavailable, Refusal):
                    if await clear_away(self._api, self._path(owner)):
                        self._known.discard(owner)

    async def _list(self, owner: str) -> list[Object]:
        try:
            listed = await self._api.get(self._path(owner), [("labelSelector", RUNS)])
        except NotThere:
            return []
        items: list[Object] = listed.get("items") or []
        return [pod for pod in items if owner_of(pod) == owner]

    @override
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        try:
            pods = await self._list(owner)
        except Refusal as error:
            raise Unavailable(f"The cluster does not tell what runs: {error.message}") from error
        live = (pod for pod in pods if not is_over(pod, datetime.now(UTC)))
        return tuple(ref for pod in live if (ref := attempt_of(pod)) is not None)

    @override
    async def log(self, ref: AttemptRef, *, offset: int, limit: int) -> LogPart:
        return await self._folders.log(ref, offset=offset, limit=limit)

    @override
    async def events(self, ref: AttemptRef, *, after: int) -> tuple[tuple[CellEvent, ...], int]:
        return await self._folders.events(ref, after=after)

    @override
    async def outputs(self, ref: AttemptRef) -> tuple[Output, ...]:
        return await self._folders.outputs(ref)

    @override
    def read_output(self, ref: AttemptRef, name: str) -> AsyncIterator[bytes]:
        return self._folders.read_output(ref, name)

    @override
    async def environments(self, owner: str) -> tuple[Environment, ...]:
        return await self._folders.environments(owner)

    @override
    async def profiles(self, owner: str) -> tuple[Profile, ...]:
        return tuple(one.shown for one in await self._profiles(owner))

    @override
    async def pool(self, owner: str) -> PoolStatus | None:
        """Return None: pods are made when they are needed."""
        return None

    @override
    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._watching.close()
        await self._folders.close()
        await self._api.close()
