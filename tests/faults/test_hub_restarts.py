"""Hub, proxy and control killed under load: nothing is lost, and all of it comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import httpx
import pytest

from tests.servers.hub import Hub, Part
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.session import Session, execute
from tests.servers.stalls import allowed

pytestmark = [pytest.mark.asyncio, pytest.mark.faults, pytest.mark.timeout(400)]

GAP_SECONDS = 5.0
Ask = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub whose parts get killed."""
    made = Hub()
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()


class Watch:
    """Asks all the time, and knows the longest time without an answer."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._good = time.monotonic()
        self.longest = 0.0
        self.answers = 0
        self._is_over = False
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while not self._is_over:
            with suppress(httpx.HTTPError, AssertionError):
                answer = await self._ask()
                if answer.status_code == 200:
                    now = time.monotonic()
                    self.longest = max(self.longest, now - self._good)
                    self._good = now
                    self.answers += 1
            await asyncio.sleep(0.05)

    async def good(self, more: int = 5) -> None:
        """Wait for some good answers."""
        end = self.answers + more
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.answers < end:  # noqa: ASYNC110 - answers come from the task
                await asyncio.sleep(0.05)

    async def end(self) -> float:
        """Stop asking; return the longest gap."""
        self._is_over = True
        await self._task
        return self.longest


async def killed(hub: Hub, part: Part) -> None:
    """Kill a part, and wait until another one is there."""
    old = hub.kill(part)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(LookupError):
                if hub.pid(part) != old:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("part", ["hub", "control", "keeper"])
async def test_099_open_sessions_do_not_notice(hub: Hub, part: Part) -> None:
    async with Session(hub, "alice") as alice:
        socket = await alice.socket(await alice.kernel())
        await execute(socket, "x = 41")
        watch = Watch(lambda: alice.ask("GET", "api/kernels"))
        await watch.good()
        begun = time.monotonic()
        before = hub.servers()
        await killed(hub, part)
        # The same socket, kernel and cookies, while the part is away and after.
        assert await execute(socket, "x += 1\nprint(x)") == "42\n"
        await hub_answers(hub)
        assert await execute(socket, "print(x)") == "42\n"
        await watch.good()
        gap = await watch.end()
        socket.close()
        assert gap < allowed(GAP_SECONDS, begun)
        assert [one.pid for one in hub.servers()] == [one.pid for one in before]


async def test_099_a_killed_hub_is_back_with_its_logins_servers_and_routes(hub: Hub) -> None:
    async with Session(hub, "alice") as alice:
        servers = (await hub.api("GET", "users/alice")).json()["servers"]
        home: Ask = lambda: alice.visitor.http.get("/hub/home")  # noqa: E731
        watch = Watch(home)
        await watch.good()
        begun = time.monotonic()
        await killed(hub, "hub")
        await watch.good()
        gap = await watch.end()
        assert gap < allowed(GAP_SECONDS, begun)
        # Cookies of before are good, and nobody had to start anything again.
        after = (await hub.api("GET", "users/alice")).json()["servers"]
        assert after[""]["started"] == servers[""]["started"]
        assert after[""]["ready"]
        assert (await alice.visitor.enter("/user/alice/lab")).status_code == 200


async def test_099_a_killed_proxy_is_back_with_its_routes(hub: Hub) -> None:
    async with Session(hub, "alice") as alice:
        kernel = await alice.kernel()
        socket = await alice.socket(kernel)
        await execute(socket, "x = 41")
        ask: Ask = lambda: alice.ask("GET", "api/kernels")  # noqa: E731
        watch = Watch(ask)
        await watch.good()
        begun = time.monotonic()
        await killed(hub, "proxy")
        await watch.good()
        gap = await watch.end()
        assert gap < allowed(GAP_SECONDS, begun)
        # Sockets through a proxy end with it; a page opens another one, to the same kernel.
        again = await alice.socket(kernel)
        assert await execute(again, "print(x + 1)") == "42\n"
        again.close()


@pytest.mark.parametrize("part", ["hub", "proxy", "control", "keeper"])
async def test_099_jobs_end_once_whatever_is_killed(hub: Hub, part: Part) -> None:
    async with Session(hub, "bob") as bob:
        name = f"tally-{part}.txt"
        code = (
            "import time\n"
            f"with open({name!r}, 'a') as file: print('began', file=file, flush=True)\n"
            "time.sleep(4)\n"
            f"with open({name!r}, 'a') as file: print('ended', file=file, flush=True)\n"
            "print('done')"
        )
        home = next(hub.state.glob("homes/bob-*"))
        code = f"import os; os.chdir({str(home)!r})\n" + code
        run = await bob.job(code, name=f"job-{part}.ipynb")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (home / name).exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        await killed(hub, part)
        ended = await bob.ended(run["id"])
        assert ended["status"] == "succeeded", ended
        assert (home / name).read_text() == "began\nended\n"
        runs = (await bob.ask("GET", f"himalia/api/runs/{run['id']}")).json()
        assert runs["attempt"] == 1
        assert "done" in await bob.said(run["id"])


async def test_099_a_killed_supervisor_takes_hub_proxy_and_control_with_it_and_no_session(
    hub: Hub,
) -> None:
    async with Session(hub, "alice") as alice:
        kernel = await alice.kernel()
        before = [one.pid for one in hub.servers()]
        parts: tuple[Part, ...] = ("hub", "proxy", "keeper", "control")
        processes = [hub.process(part) for part in parts]
        hub.kill("start")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(one.is_running() for one in processes):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert [one.pid for one in hub.servers()] == before
        hub.stop()
        await hub.start()
        # Cookies are from before; the password is another one.
        socket = await alice.socket(kernel)
        assert await execute(socket, "print(6 * 7)") == "42\n"
        socket.close()


async def test_an_orderly_stop_keeps_sessions_and_a_wished_one_ends_them(hub: Hub) -> None:
    async with Session(hub, "alice"):
        before = [one.pid for one in hub.servers()]
    assert hub.stop() == 0
    assert [one.pid for one in hub.servers()] == before
    hub.arguments = (*hub.arguments, "--stop-sessions")
    await hub.start()
    assert [one.pid for one in hub.servers()] == before
    assert hub.stop() == 0
    assert hub.servers() == []


async def hub_answers(hub: Hub) -> None:
    """Wait until the hub, and control behind it, answer through the proxy."""
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        for path in ("/hub/api", "/services/himalia/health/ready"):
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(hub.url + path)).status_code == 200:
                        break
                await asyncio.sleep(0.05)
