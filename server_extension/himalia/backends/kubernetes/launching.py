"""Starts agents in pods of their owners' namespaces, through the API server and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime

import aiohttp

from himalia.agents.account import Account
from himalia.agents.link import Cut
from himalia.agents.process import AgentProcess, Gone
from himalia.agents.settings import AgentSettings
from himalia.backends.kubernetes.api import Api, Exists, NotThere, Object, Refusal
from himalia.backends.kubernetes.denials import passing
from himalia.backends.kubernetes.pods import AGENT_POD, agent_pod, owner_of
from himalia.backends.kubernetes.settings import PodSettings
from himalia.backends.kubernetes.states import is_over, why_waiting
from himalia.core.errors import Unavailable
from himalia.core.names import namespace

_STDIN, _STDOUT, _STDERR, _ERROR = 0, 1, 2, 3
_PART = 32 * 1024
_LAST_WORDS = 2000
_LOOK_SECONDS = 0.25


class PodAgents:
    """Starts agents: ``Agents(account, settings, launch=PodAgents(api, settings).launch)``."""

    def __init__(self, api: Api, settings: PodSettings) -> None:
        self._api = api
        self._settings = settings

    async def launch(self, owner: str, _account: Account, _settings: AgentSettings) -> AgentProcess:
        """Start an agent in the owner's namespace, which must be there.

        :raises Gone: its pod does not come up, or cannot be.
        :raises Unavailable: the cluster cannot be asked now.
        """
        space = namespace(owner, self._settings.prefix)
        path = f"/api/v1/namespaces/{space}/pods"
        command = [self._settings.python, "-I", "-m", "himalia.agents.agent", "--stdio"]
        try:
            await self._up(owner, path)
            socket = await self._api.execute(f"{path}/{AGENT_POD}/exec", command)
        except Refusal as error:
            # It ended a moment ago, or its machine is out of touch: the next one may do better.
            raise Unavailable(f"Your files cannot be reached just now: {error.message}") from error
        return AgentProcess(ExecLink(socket, f"in {space}"))

    async def _up(self, owner: str, path: str) -> None:
        """See that the pod runs."""
        deadline = time.monotonic() + self._settings.agent_start_seconds
        why = "its pod does not come up"
        while time.monotonic() < deadline:
            pod = await self._pod(owner, path)
            if pod is not None and _runs(pod):
                return
            reason = None if pod is None else why_waiting(pod)
            if reason is not None:
                why = reason.message
            await asyncio.sleep(_LOOK_SECONDS)
        raise Unavailable(f"Your files cannot be reached just now: {why}")

    async def _pod(self, owner: str, path: str) -> Object | None:
        """Return the pod, made if it was not there; None where it must go first."""
        try:
            pod = await self._api.get(f"{path}/{AGENT_POD}")
        except NotThere:
            return await self._make(owner, path)
        if owner_of(pod) != owner:
            raise Gone("the pod in the owner's namespace is somebody else's")
        is_ours = pod["spec"]["containers"][0]["image"] == self._settings.image
        if is_over(pod, datetime.now(UTC)) or not is_ours:
            await self._api.delete(
                f"{path}/{AGENT_POD}", grace_seconds=0, uid=pod["metadata"]["uid"]
            )
            return None
        return None if pod["metadata"].get("deletionTimestamp") else pod

    async def _make(self, owner: str, path: str) -> Object | None:
        try:
            return await self._api.create(path, agent_pod(owner, self._settings))
        except Exists:
            return None
        except Refusal as error:
            why = passing(error)
            if why is None:
                raise Gone(f"the cluster refuses its pod: {error.message}") from error
            raise Unavailable(why) from error


async def clear_away(api: Api, path: str) -> bool:
    """Delete a pod for agents that has ended because nobody needed it; `path` is its namespace's.

    Tell whether there is none any more (:raises Refusal:) (:raises Unavailable:).
    """
    try:
        pod = await api.get(f"{path}/{AGENT_POD}")
    except NotThere:
        return True
    if not is_over(pod, datetime.now(UTC)):
        return False
    await api.delete(f"{path}/{AGENT_POD}", grace_seconds=0, uid=pod["metadata"]["uid"])
    return True


class ExecLink:
    """The way to a program in a pod: its standard streams, each message behind a channel's number.

    It is this end that reads only as fast as it can follow; the other waits.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, name: str) -> None:
        self._socket = socket
        self._name = name
        self._heard = bytearray()
        self._said = bytearray()
        self._sending = asyncio.Lock()
        self._has_ended = False
        self._closing: asyncio.Task[None] | None = None
        # Public nowhere, and needed to be rid of the connection at once.
        self._connection = socket._response.connection  # noqa: SLF001

    @property
    def pid(self) -> int | None:
        """None: it is on another machine."""
        return None

    @property
    def name(self) -> str:
        """Where it is."""
        return self._name

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes of its output.

        :raises asyncio.IncompleteReadError: it has ended.
        :raises Cut: the connection broke.
        """
        while len(self._heard) < n:
            if self._has_ended:
                raise asyncio.IncompleteReadError(bytes(self._heard), n)
            await self._hear()
        found = bytes(self._heard[:n])
        del self._heard[:n]
        return found

    async def _hear(self) -> None:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            channel, data = message.data[0], message.data[1:]
            if channel == _STDOUT:
                self._heard += data
            elif channel == _STDERR:
                self._said = (self._said + data)[-_LAST_WORDS:]
            elif channel == _ERROR:
                self._end(data)
        elif message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            raise Cut("the connection to where your files are was cut")

    def _end(self, status: bytes) -> None:
        self._has_ended = True
        with contextlib.suppress(ValueError, AttributeError):
            said = json.loads(status)
            if said.get("status") != "Success":
                self._said += f"\n{said.get('message', '')}".encode()

    async def send(self, data: bytes) -> None:
        """Say something, in parts that every server takes."""
        async with self._sending:
            for start in range(0, len(data), _PART):
                # What cannot be sent is told by the side that listens.
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await self._socket.send_bytes(bytes([_STDIN]) + data[start : start + _PART])

    def close(self) -> None:
        """Close its input, with all the rest: it ends by itself."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._let_go(), name=f"close {self._name}")

    async def _let_go(self) -> None:
        transport = None if self._connection is None else self._connection.transport
        try:
            await self._socket.close()
        finally:
            if transport is not None:
                # TLS would go on to wait for the server's farewell.
                transport.abort()

    def kill(self) -> None:
        """Let go of it at once; what does not end by itself ends with its pod."""
        self.close()

    async def wait(self) -> None:
        """Return when the connection is closed."""
        self.close()
        if self._closing is not None:
            await asyncio.wait({self._closing})

    async def last_words(self) -> str:
        """Return the end of what it said to its standard error."""
        return self._said.decode("utf-8", "replace")


def _runs(pod: Object) -> bool:
    return any(
        (status.get("state") or {}).get("running") is not None
        for status in pod.get("status", {}).get("containerStatuses") or ()
    )
