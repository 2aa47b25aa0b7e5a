"""Simulated users, who log in, start a server and ask the hub what a session asks it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

import httpcore
from hubs import PASSWORD, Hub
from jupyterhub import __version__

START_SECONDS = 60
ACTIVITY_SECONDS = 300
"""How often a user's server tells the hub that it is used."""
REPORT_SECONDS = 150
"""How often a session tells control of itself: when something changed, or else every 5 min."""


class _UserServer(asyncio.Protocol):
    """The one HTTP server that stands for all users' servers."""

    _OK = (
        f"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: {__version__}\r\n"
        "Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, _: bytes) -> None:
        self._transport.write(self._OK)
        self._transport.close()


@asynccontextmanager
async def user_server() -> AsyncIterator[str]:
    """Give the address that simulated servers are at."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_UserServer, "127.0.0.1", 0, backlog=512)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Answer:
    """What came back."""

    def __init__(self, response: httpcore.Response) -> None:
        self.status = response.status
        self.content = response.content
        self.headers = [(name.lower(), value.decode()) for name, value in response.headers]

    def header(self, name: bytes) -> str:
        """Return a header's value, or nothing."""
        return next((value for key, value in self.headers if key == name), "")


class Crowd:
    """Users of one hub, at most `at_once` of them in a hurry at a time."""

    def __init__(self, hub: Hub, at_once: int) -> None:
        self._hub = hub
        self._at_once = asyncio.Semaphore(at_once)
        self._http = httpcore.AsyncConnectionPool(max_connections=at_once, keepalive_expiry=30)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        """How long answers took, by what was asked."""
        self.failures: Counter[str] = Counter()
        self.put_off = 0
        """How often a hub told a user to come again later."""
        self._users: list[User] = []

    @property
    def ready(self) -> int:
        """How many users have a server that is up, and used it."""
        return len(self._users)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def come(self, names: Sequence[str]) -> None:
        """Let these users log in, start their server and begin their session."""
        await asyncio.gather(*(self._in_turn(name) for name in names))

    async def _in_turn(self, name: str) -> None:
        async with self._at_once:
            try:
                user = User(self, self._hub, name)
                await user.arrive()
            except (AssertionError, httpcore.NetworkError, httpcore.TimeoutException) as error:
                self.failures[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                self._users.append(user)

    async def stay(self, seconds: float) -> None:
        """Let the sessions of all who came do for a while what sessions do by themselves."""
        habits = [("tell_activity", ACTIVITY_SECONDS)]
        if self._hub.control:
            habits.append(("report", REPORT_SECONDS))
        async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
            for name, every in habits:
                count = round(len(self._users) * seconds / every)
                for number in range(count):
                    # Evenly over the time and over the users, as the law of large numbers has it.
                    user = self._users[number * len(self._users) // count]
                    group.create_task(self._later(number * seconds / count, user, name))
            group.create_task(asyncio.sleep(seconds))

    async def _later(self, seconds: float, user: User, name: str) -> None:
        await asyncio.sleep(seconds)
        await getattr(user, name)()

    async def ask(
        self, what: str, method: str, path: str, headers: dict[str, str], content: bytes = b""
    ) -> Answer:
        """Send one request, and note how long its answer took."""
        begin = time.perf_counter()
        response = await self._http.request(
            method,
            self._hub.url + path,
            headers=[("Host", urlsplit(self._hub.url).netloc), *headers.items()],
            content=content,
            extensions={"timeout": {"connect": 30, "read": 30, "write": 30, "pool": 600}},
        )
        self.seconds[what].append(time.perf_counter() - begin)
        return Answer(response)


class User:
    """One of them, with the cookies of a browser."""

    def __init__(self, crowd: Crowd, hub: Hub, name: str) -> None:
        self._crowd = crowd
        self._hub = hub
        self.name = name
        self._cookies: dict[str, str] = {}

    async def arrive(self) -> None:
        """Log in, and do what comes after it."""
        await self._log_in()
        await self._start_server()
        await self._use_server()

    async def _browse(
        self, what: str, method: str, path: str, content: bytes = b"", **headers: str
    ) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        sent = {"Cookie": cookies, "X-XSRFToken": self._cookies.get("_xsrf", ""), **headers}
        if content:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        answer = await self._crowd.ask(what, method, path, sent, content)
        for key, value in answer.headers:
            if key == b"set-cookie":
                jar: SimpleCookie = SimpleCookie(value)
                self._cookies |= {name: morsel.value for name, morsel in jar.items()}
        return answer

    async def _call(self, what: str, method: str, path: str, content: bytes = b"") -> Answer:
        headers = {"Authorization": f"token {self._hub.token(self.name)}"}
        return await self._crowd.ask(what, method, path, headers, content)

    async def _log_in(self) -> None:
        await self._browse("login", "GET", "/hub/login")
        form = {"username": self.name, "password": PASSWORD, "_xsrf": self._cookies["_xsrf"]}
        answer = await self._browse("login", "POST", "/hub/login", urlencode(form).encode())
        assert answer.status == 302, ("login", answer.status, answer.content[-500:])

    async def _start_server(self) -> None:
        begin = time.perf_counter()
        path = f"/hub/api/users/{self.name}"
        while True:
            answer = await self._browse("API", "POST", f"{path}/server")
            if answer.status != 429:
                break
            self._crowd.put_off += 1
            await asyncio.sleep(float(answer.header(b"retry-after") or 1))
        assert answer.status in {201, 202}, ("start", answer.status, answer.content[-500:])
        while answer.status != 201:
            assert time.perf_counter() - begin < START_SECONDS, "the server does not get ready"
            await asyncio.sleep(0.2)
            found = await self._browse("API", "GET", path)
            if json.loads(found.content)["servers"].get("", {}).get("ready"):
                break
        self._crowd.seconds["start"].append(time.perf_counter() - begin)

    async def _use_server(self) -> None:
        answer = await self._call("API", "GET", "/hub/api/user")
        assert answer.status == 200, ("user", answer.status)
        await self.tell_activity()
        if self._hub.control:
            await self.report()
            answer = await self._call("control", "GET", "/services/himalia/api/jobs")
            assert answer.status == 200, ("jobs", answer.status, answer.content[-500:])

    async def tell_activity(self) -> None:
        """Tell the hub what every user's server tells it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        activity = json.dumps({"servers": {"": {"last_activity": now}}, "last_activity": now})
        path = f"/hub/api/users/{self.name}/activity"
        answer = await self._call("API", "POST", path, activity.encode())
        assert answer.status == 200, ("activity", answer.status, answer.content[-500:])

    async def report(self) -> None:
        """Tell control what every session with Himalia tells it."""
        path = "/services/himalia/api/sessions"
        answer = await self._call("control", "POST", path, b"{}")
        assert answer.status == 200, ("report", answer.status, answer.content[-500:])
