"""One agent as control sees it: somebody to ask, at the other end of a link."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from himalia.agents.account import Account
from himalia.agents.frames import PROTOCOL, NotUnderstood, frame, read_frame
from himalia.agents.link import ChildLink, Cut, Link
from himalia.agents.messages import Hello, Opening, SaidError
from himalia.agents.settings import AgentSettings
from himalia.core.errors import EVERY_ERROR, FieldProblem, HimaliaError
from himalia.core.variables import PATH, of_machine

_ERRORS = {kind.code: kind for kind in EVERY_ERROR}
_END_SECONDS = 5.0
_ENDED = "it ended"
_MAX_ABANDONED = 1000


class Gone(Exception):
    """The agent is not there any more, or never came up; the text says why."""


class AgentProcess:
    """Asks an agent, many things at once. Made by :func:`launch`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._abandoned: set[int] = set()
        self._last = 0
        self._why = ""
        self.was_cut = False
        """Whether only the way to it broke, which is not its fault."""
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, where it is on this machine."""
        return self._link.pid

    @property
    def name(self) -> str:
        """What it is called in a log."""
        return self._link.name

    @property
    def is_gone(self) -> bool:
        """Whether there is nobody to ask any more."""
        return self._listening is not None and self._listening.done()

    @property
    def why(self) -> str:
        """What became of it, once it is gone."""
        return self._why

    async def greet(self, opening: Opening) -> None:
        """Hear which version it is, and tell it where to work.

        :raises Gone: it ended.
        :raises Cut: the way to it broke.
        :raises NotUnderstood: it is another version, or no agent.
        """
        said = await read_frame(self._link)
        if said is None:
            raise Gone(await self._last_words())
        try:
            hello = Hello.model_validate(said)
        except ValidationError as error:
            raise NotUnderstood("something that is no greeting") from error
        if hello.protocol != PROTOCOL:
            raise NotUnderstood(f"that it is Himalia {hello.himalia}, which is another version")
        self._listening = asyncio.create_task(self._listen(), name=f"agent {self.name}")
        try:
            await self.ask("open", opening.model_dump())
        except Gone as error:
            raise Gone(await self._last_words() if self._why == _ENDED else str(error)) from error

    async def ask(self, do: str, with_: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for one thing and return the answer, as yet unchecked.

        :raises HimaliaError: the agent says so.
        :raises Gone: it ended before it answered.
        :raises NotUnderstood: the question is too long to be asked.
        """
        if self.is_gone:
            raise Gone(self._why)
        self._last += 1
        number = self._last
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        data = frame({"id": number, "do": do, "with": with_})
        self._asked[number] = answer
        try:
            await self._link.send(data)
            said = await answer
        except asyncio.CancelledError:
            answer.cancel()
            raise
        finally:
            # Who does not wait any more has cancelled it; not so when it was answered meanwhile.
            if self._asked.pop(number, None) is not None and answer.cancelled():
                self._abandon(number)
        return said

    async def end(self) -> None:
        """Let go of the agent, and see that its process ends; what it started goes on."""
        self._link.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._link.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End the agent at once."""
        self._link.kill()
        if self._listening is not None:
            self._listening.cancel()
        await self._link.wait()

    def _abandon(self, number: int) -> None:
        """Expect an answer that nobody waits for any more; not too many of them."""
        self._abandoned.add(number)
        if len(self._abandoned) > _MAX_ABANDONED and self._listening is not None:
            self._why = "it left too much unanswered"
            self._listening.cancel()

    async def _listen(self) -> None:
        self._why = _ENDED
        try:
            while (said := await read_frame(self._link)) is not None:
                self._hear(said)
        except Cut as error:
            self._why, self.was_cut = str(error), True
        except NotUnderstood as error:
            self._why = f"it said {error}"
        except OSError as error:
            self._why = str(error)
        finally:
            # Nothing else it says is heard: what is asked from now on finds nobody.
            self._link.close()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(Gone(self._why))

    def _hear(self, said: dict[str, Any]) -> None:
        number = said.get("id")
        if isinstance(number, int) and number in self._abandoned:
            self._abandoned.discard(number)
            return
        answer = self._asked.get(number) if isinstance(number, int) else None
        if answer is None or (answer.done() and not answer.cancelled()):
            raise NotUnderstood("an answer to what nobody asked")
        if answer.cancelled():
            # A moment ago; its asker need not expect an answer any more.
            self._asked.pop(said["id"])
            return
        if isinstance(said.get("ok"), dict):
            answer.set_result(said["ok"])
            return
        try:
            answer.set_exception(_error(SaidError.model_validate(said.get("error"))))
        except ValidationError as error:
            raise NotUnderstood("neither an answer nor an error") from error

    async def _last_words(self) -> str:
        words = await self._link.last_words()
        last = words.strip().splitlines()[-1:] or [_ENDED]
        return "".join(char if char.isprintable() else "?" for char in last[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identity:
    """What a process is given of an account; nothing where it stays in this one."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None

    @classmethod
    def of(cls, account: Account) -> _Identity:
        if account.uid is None:
            return cls()
        if account.uid == 0 or account.gid is None:
            raise Gone("no agent runs as root")
        return cls(user=account.uid, group=account.gid, extra_groups=account.groups)


Launch = Callable[[str, Account, AgentSettings], Awaitable[AgentProcess]]
"""Starts the agent of an owner (:raises Gone: that cannot be) (:raises Cut: nor be known)
(:raises Unavailable: where agents are cannot be reached now; that is no trouble with this one)."""


async def launch(_owner: str, account: Account, settings: AgentSettings) -> AgentProcess:
    """Start an agent under an account (:raises Gone: that cannot be)."""
    identity = _Identity.of(account)
    mine, its = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            settings.python,
            # Neither the folder nor the user's own packages: control's words reach our code first.
            *("-I", "-m", "himalia.agents.agent", str(its.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(its.fileno(),),
            cwd="/",
            env=environment(account, settings),
            user=identity.user,
            group=identity.group,
            extra_groups=identity.extra_groups,
            umask=0o077,
            start_new_session=True,
        )
    except OSError as error:
        mine.close()
        raise Gone(f"{settings.python} cannot be started: {error.strerror}") from error
    finally:
        its.close()
    reader, writer = await asyncio.open_connection(sock=mine, limit=2**20)
    return AgentProcess(ChildLink(process, reader, writer))


def environment(account: Account, settings: AgentSettings) -> dict[str, str]:
    """Return the variables of an agent: the machine's and the account's, none of control's."""
    own = {
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell,
        "PATH": f"{settings.python.parent}:{PATH}",
    }
    return {**of_machine(os.environ), **own, **settings.env}


def _error(said: SaidError) -> HimaliaError:
    problems = tuple(FieldProblem(field=item.field, message=item.message) for item in said.problems)
    return _ERRORS.get(said.code, HimaliaError)(said.message, problems=problems)
