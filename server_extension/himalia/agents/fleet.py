"""All agents: started when they are needed, started again after they died, ended when idle.

What one owner's agent does, or does not do, is that owner's trouble alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from himalia.agents.account import Account
from himalia.agents.frames import NotUnderstood
from himalia.agents.link import Cut
from himalia.agents.messages import Opening
from himalia.agents.process import AgentProcess, Gone, Launch, launch
from himalia.agents.settings import AgentSettings
from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.model import Reason
from himalia.core.news import News

_log = logging.getLogger(__name__)

_AT_ONCE = 32
"""Requests to one agent."""
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 60.0
_LONGEST_REFUSAL = 4.0
_SHORT_PAUSE = 1.0
"""What a request waits for an agent that is to be started again; after longer ones it is told."""
_FREQUENT_CHANGES = 0.05
_RARE_CHANGES = 0.5
"""Seconds between an agent's news; more often only where there was none for a while."""
_MAX_CREDIT = 20.0
_A = TypeVar("_A", bound=BaseModel)


@dataclass(slots=True, kw_only=True, eq=False)
class _Keep:
    """What is known of one owner's agent."""

    owner: str
    agent: AgentProcess | None = None
    account: Account | None = None
    pump: asyncio.Task[None] | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    asking: int = 0
    used_mono: float = 0.0
    troubles: list[float] = field(default_factory=list)
    not_before_mono: float = 0.0
    why: str = ""
    refusals: int = 0
    """How often, one after the other, there was no place for an agent."""
    refusal: str = ""

    def put_off(self, why: str) -> None:
        """There is no place for an agent now, which is no trouble with this one: ask again after a
        pause that stays short.
        """
        pause = min(_FIRST_PAUSE * 2.0 ** min(self.refusals, 20), _LONGEST_REFUSAL)
        self.refusals, self.refusal = self.refusals + 1, why
        self.not_before_mono = time.monotonic() + pause


def failure(message: str) -> Reason:
    """Say that a run failed because of its owner's agent."""
    return Reason(
        code="agent_failed",
        message=message,
        next_step="Run it again; if it fails in the same way, tell an admin.",
    )


class Agents:
    """Asks the agent of an owner, whom `account` finds (:raises HimaliaError: there is none)."""

    def __init__(
        self,
        account: Callable[[str], Awaitable[Account]],
        settings: AgentSettings | None = None,
        *,
        launch: Launch = launch,
    ) -> None:
        self.settings = settings or AgentSettings()
        self._account = account
        self._launcher = launch
        self._keeps: dict[str, _Keep] = {}
        self._news = News()
        self._sweeping: asyncio.Task[None] | None = None
        self._is_closed = False

    def owners(self) -> tuple[str, ...]:
        """Return whose agents are up."""
        return tuple(
            owner
            for owner, keep in self._keeps.items()
            if keep.agent is not None and not keep.agent.is_gone
        )

    def pid(self, owner: str) -> int | None:
        """Return the process id of an owner's agent, if it is up."""
        keep = self._keeps.get(owner)
        return keep.agent.pid if keep is not None and keep.agent is not None else None

    def trouble(self, owner: str) -> str | None:
        """Return what keeps going wrong with an owner's agent, if it does."""
        keep = self._keeps.get(owner)
        if keep is None or len(self._recent(keep)) <= self.settings.max_troubles:
            return None
        return keep.why

    def broken(self, owner: str) -> Reason | None:
        """Return why an owner's runs fail, where trying again has not helped for long."""
        why = self.trouble(owner)
        return failure(f"What runs notebooks under your account fails: {why}.") if why else None

    async def account(self, owner: str) -> Account:
        """Return the account of an owner, as it was when the agent was last started."""
        keep = self._keeps.get(owner)
        if keep is None or keep.account is None:
            return await self._account(owner)
        return keep.account

    async def changes(self) -> frozenset[str] | None:
        """Return with whom something may have changed since the last call, when it has."""
        return await self._news.wait()

    async def ask(
        self,
        owner: str,
        do: str,
        with_: BaseModel,
        answer: type[_A],
        *,
        seconds: float | None = None,
    ) -> _A:
        """Have an owner's agent do one thing.

        :raises HimaliaError: as the backend and the premises do, in the agent's words.
        :raises Unavailable: the agent does not come up, does not answer, or makes no sense.
        """
        keep = self._keeps.setdefault(owner, _Keep(owner=owner))
        keep.asking += 1
        try:
            async with keep.turns:
                try:
                    said = await self._ask(owner, keep, (do, with_), seconds)
                except Gone:
                    # An agent may die at any time; whatever is asked of one can be asked again.
                    said = await self._ask(owner, keep, (do, with_), seconds)
            return answer.model_validate(said)
        except Gone as error:
            raise self._unavailable(keep) from error
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:3])
            await self._note(owner, keep, f"it gave a wrong answer to {do} ({fields[:200]})")
            raise self._unavailable(keep) from error
        finally:
            keep.asking -= 1
            keep.used_mono = time.monotonic()

    async def end(self, owner: str) -> None:
        """End an owner's agent; it is started again when somebody asks for it."""
        keep = self._keeps.get(owner)
        if keep is not None:
            await self._let_go(keep)

    async def close(self) -> None:
        """End all agents; what they started goes on."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(*(self._let_go(keep) for keep in self._keeps.values()))

    async def _ask(
        self, owner: str, keep: _Keep, what: tuple[str, BaseModel], seconds: float | None
    ) -> object:
        do, with_ = what
        agent = await self._up(owner, keep)
        allowed = seconds or self.settings.answer_seconds
        try:
            async with asyncio.timeout(allowed):
                return await agent.ask(do, with_.model_dump(mode="json"))
        except TimeoutError as error:
            await self._note(owner, keep, f"it gave no answer to {do} in {allowed:.0f} s", agent)
            raise self._unavailable(keep) from error
        except NotUnderstood as error:
            raise Unavailable(f"This is too much for an agent: {error}.") from error
        except Gone as error:
            await self._note(owner, keep, str(error), agent)
            raise

    async def _up(self, owner: str, keep: _Keep) -> AgentProcess:
        async with keep.starting:
            if keep.agent is not None:
                if not keep.agent.is_gone:
                    return keep.agent
                # Nobody asked it anything when it went, and nobody told it to.
                await self._note(owner, keep, keep.agent.why, keep.agent)
            pause = keep.not_before_mono - time.monotonic()
            if self._is_closed or pause > _SHORT_PAUSE:
                raise self._unavailable(keep)
            await asyncio.sleep(max(pause, 0))
            await self._make_room()
            try:
                keep.account = await self._account(owner)
                keep.agent = await self._launch(owner, keep.account)
            except Unavailable as error:
                keep.put_off(error.message)
                raise
            except (Gone, Cut, NotUnderstood, TimeoutError) as error:
                why = str(error) or "it did not come up in time"
                await self._note(owner, keep, why, counts=not isinstance(error, Cut))
                raise self._unavailable(keep) from error
            keep.used_mono, keep.refusals = time.monotonic(), 0
            keep.pump = asyncio.create_task(
                self._hear(owner, keep.agent), name=f"changes of {owner}"
            )
            if self._sweeping is None:
                self._sweeping = asyncio.create_task(self._sweep(), name="end idle agents")
            return keep.agent

    async def _launch(self, owner: str, account: Account) -> AgentProcess:
        settings = self.settings
        opening = Opening(
            state=str(account.state(owner)),
            pool_size=settings.pool_size,
            pool_idle_seconds=settings.pool_idle_seconds,
            log_limit_bytes=settings.log_limit_bytes,
            runs_elsewhere=settings.runs_elsewhere,
            memory_bytes=settings.memory_bytes,
            processes=settings.processes,
            max_bytes=settings.limits.max_bytes,
            max_files=settings.limits.max_files,
        )
        agent = await self._launcher(owner, account, settings)
        try:
            async with asyncio.timeout(settings.start_seconds):
                await agent.greet(opening)
        except BaseException:
            await agent.kill()
            raise
        _log.info("agent of %s: %s", owner, agent.name)
        return agent

    async def _make_room(self) -> None:
        up = [keep for keep in self._keeps.values() if keep.agent is not None]
        if len(up) < self.settings.max_agents:
            return
        idle = [keep for keep in up if not keep.asking]
        if not idle:
            raise Unavailable("Too many people's runs are looked after just now. Try again soon.")
        await self._let_go(min(idle, key=lambda keep: keep.used_mono))

    async def _note(
        self,
        owner: str,
        keep: _Keep,
        why: str,
        agent: AgentProcess | None = None,
        *,
        counts: bool = True,
    ) -> None:
        """Remember trouble, once for each agent, and let nobody ask this one any more."""
        if agent is not None and keep.agent is not agent:
            return
        now = time.monotonic()
        keep.why, keep.refusals = why, 0
        if counts and not (agent is not None and agent.was_cut):
            keep.troubles = [*self._recent(keep), now]
        pause = _FIRST_PAUSE * 2.0 ** min(max(len(keep.troubles) - 1, 0), 20)
        keep.not_before_mono = now + min(pause, _LONGEST_PAUSE)
        _log.warning("agent of %s, trouble number %d: %s", owner, len(keep.troubles), why)
        await self._let_go(keep, at_once=True)

    def _recent(self, keep: _Keep) -> list[float]:
        since = time.monotonic() - self.settings.forgive_seconds
        return [at for at in keep.troubles if at > since]

    def _unavailable(self, keep: _Keep) -> Unavailable:
        if self._is_closed:
            return Unavailable("Control is ending. Try again in a moment.")
        if keep.refusals:
            return Unavailable(keep.refusal)
        return Unavailable(
            f"What looks after your files and runs does not work just now: {keep.why}. "
            "It is tried again by itself; if that does not help, tell an admin."
        )

    async def _let_go(self, keep: _Keep, *, at_once: bool = False) -> None:
        agent, keep.agent = keep.agent, None
        pump, keep.pump = keep.pump, None
        if pump is not None:
            pump.cancel()
        if agent is not None:
            await (agent.kill() if at_once else agent.end())
            self._news.tell({keep.owner})

    async def _hear(self, owner: str, agent: AgentProcess) -> None:
        """Pass on, at a bounded rate, that something may have changed."""
        credit = _MAX_CREDIT
        with contextlib.suppress(Gone, HimaliaError):
            while True:
                asked_mono = time.monotonic()
                await agent.ask("changes", {})
                self._news.tell({owner})
                waited = time.monotonic() - asked_mono
                credit = min(credit + waited / _RARE_CHANGES, _MAX_CREDIT) - 1
                await asyncio.sleep(_FREQUENT_CHANGES if credit > 0 else _RARE_CHANGES)
        self._news.tell({owner})

    async def _sweep(self) -> None:
        """End agents that nobody asks, and forget owners of whom there is nothing to remember."""
        pause = min(self.settings.idle_seconds / 4, 10.0)
        while True:
            await asyncio.sleep(pause)
            before = time.monotonic() - self.settings.idle_seconds
            for owner, keep in list(self._keeps.items()):
                if keep.asking or keep.used_mono > before:
                    continue
                await self._let_go(keep)
                if not keep.asking and not self._recent(keep):
                    self._keeps.pop(owner, None)
