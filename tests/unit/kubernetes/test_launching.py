"""Agents behind an API server: real ones, in the place of whose pods are children of this test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.settings import AgentSettings
from himalia.backends.kubernetes.launching import PodAgents
from himalia.backends.kubernetes.pods import agent_pod
from himalia.backends.kubernetes.settings import PodSettings
from himalia.core.errors import Unavailable
from himalia.core.names import owner_id
from tests.servers.environment import server_python
from tests.servers.patience import PATIENCE_SECONDS
from tests.unit.kubernetes.script import Answer, Handler, Server, asked, refuses, says

pytestmark = pytest.mark.asyncio

OWNER = owner_id("me", datetime.now(UTC))
SETTINGS = PodSettings(image="example/session:1", agent_start_seconds=1.0)
RUNNING = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}


def is_there(*, image: str = "", owner: str = OWNER, status: Any = None) -> dict[str, Any]:
    """Return the pod of an owner's agents as a cluster has it."""
    pod = agent_pod(owner, SETTINGS)
    pod["metadata"]["uid"] = "u"
    pod["status"] = RUNNING if status is None else status
    if image:
        pod["spec"]["containers"][0]["image"] = image
    return pod


class Pod:
    """What an API server makes of a program in a pod: a WebSocket with its streams."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: list[asyncio.subprocess.Process] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.open = 0

    async def execute(self, request: web.Request) -> Answer:
        self.open += 1
        try:
            return await self._execute(request)
        finally:
            self.open -= 1

    async def _execute(self, request: web.Request) -> Answer:
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
        await socket.prepare(request)
        pipe = asyncio.subprocess.PIPE
        words = request.query.getall("command")[1:]
        process = await asyncio.create_subprocess_exec(
            *(server_python(), *words),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )
        self.processes.append(process)
        self.sockets.append(socket)
        said = asyncio.create_task(self._pass_on(process, socket))
        assert process.stdin is not None
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[0] == 0:
                process.stdin.write(message.data[1:])
                await process.stdin.drain()
        process.stdin.close()
        await process.wait()
        await asyncio.gather(said, return_exceptions=True)
        return socket

    async def _pass_on(
        self, process: asyncio.subprocess.Process, socket: web.WebSocketResponse
    ) -> None:
        async def stream(number: int, source: asyncio.StreamReader) -> None:
            while data := await source.read(7000):
                await socket.send_bytes(bytes([number]) + data)

        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(stream(1, process.stdout), stream(2, process.stderr))
        status = b'{"status":"Failure","message":"it ended with a code"}'
        with suppress(ConnectionError):
            await socket.send_bytes(b"\3" + status)
        await socket.close()


@asynccontextmanager
async def agents(folder: Path, pod: Pod, *script: Handler) -> AsyncIterator[tuple[Agents, Server]]:
    """Give agents of whose pods an API server tells by a script."""

    async def account(_owner: str) -> Account:
        return Account(name="me", home=pod.home)

    async with asked(folder, *script) as (api, server):
        settings = AgentSettings(runs_elsewhere=True)
        fleet = Agents(account, settings, launch=PodAgents(api, SETTINGS).launch)
        yield fleet, server
        await fleet.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while pod.open:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A pod over a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    return Pod(home)


async def test_an_agent_is_asked_through_the_api_server_and_ends_with_its_connection(
    tmp_path: Path, pod: Pod
) -> None:
    async with agents(tmp_path, pod, says(200, body=is_there()), pod.execute) as (fleet, server):
        backend = AgentBackend(fleet)
        found = await asyncio.gather(*(backend.environments(OWNER) for _ in range(20)))
        assert found[0][0].is_default
        assert len(set(found)) == 1
        assert fleet.owners() == (OWNER,)
        assert fleet.pid(OWNER) is None
        assert server.requests[1].path.endswith("/pods/himalia-agent/exec")
        await fleet.end(OWNER)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await pod.processes[0].wait() == 0


async def test_a_connection_that_is_cut_is_made_anew_and_no_trouble(
    tmp_path: Path, pod: Pod
) -> None:
    there = says(200, body=is_there())
    async with agents(tmp_path, pod, there, pod.execute, there, pod.execute) as (fleet, _):
        backend = AgentBackend(fleet)
        await backend.environments(OWNER)
        transport = pod.sockets[0]._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()
        assert (await backend.environments(OWNER))[0].is_default
        assert len(pod.sockets) == 2
        assert fleet._recent(fleet._keeps[OWNER]) == []


async def test_an_agent_that_breaks_is_trouble_in_its_own_last_words(
    tmp_path: Path, pod: Pod
) -> None:
    pod.home.rmdir()
    async with agents(tmp_path, pod, says(200, body=is_there()), pod.execute) as (fleet, _):
        with pytest.raises(Unavailable, match="ended with a code"):
            await AgentBackend(fleet).environments(OWNER)
        assert len(fleet._recent(fleet._keeps[OWNER])) == 1


@pytest.mark.parametrize(
    "old",
    [
        is_there(status={"phase": "Succeeded"}),
        is_there(status={"phase": "Failed"}),
        is_there(image="example/session:0"),
    ],
    ids=["ended", "failed", "another image"],
)
async def test_a_pod_that_is_of_no_use_any_more_is_replaced(
    tmp_path: Path, pod: Pod, old: Any
) -> None:
    script = (
        says(200, body=old),
        says(200),
        refuses(404, "NotFound"),
        says(201, body=is_there()),
        pod.execute,
    )
    async with agents(tmp_path, pod, *script) as (fleet, server):
        assert (await AgentBackend(fleet).environments(OWNER))[0].is_default
        methods = [request.method for request in server.requests]
        assert methods == ["GET", "DELETE", "GET", "POST", "GET"]


@pytest.mark.parametrize(
    ("answer", "words", "troubles"),
    [
        (is_there(owner="eve-" + "a" * 26), "somebody else's", 1),
        (is_there(status={"phase": "Pending"}), "does not come up", 0),
        (
            is_there(
                status={
                    "phase": "Pending",
                    "containerStatuses": [
                        {"image": "i", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
                    ],
                }
            ),
            "The image i cannot be fetched",
            0,
        ),
    ],
)
async def test_why_files_cannot_be_reached_is_said(
    tmp_path: Path, pod: Pod, answer: Any, words: str, troubles: int
) -> None:
    async with agents(tmp_path, pod, says(200, body=answer)) as (fleet, _):
        with pytest.raises(Unavailable, match=words):
            await AgentBackend(fleet).environments(OWNER)
        assert len(fleet._recent(fleet._keeps[OWNER])) == troubles
