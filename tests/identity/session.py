"""A person's session: their server at the hub, a kernel in it, and sockets to that."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.identity.person import Person, seconds_until
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS


class Session:
    """Somebody's running server."""

    def __init__(self, hub: Hub, person: Person) -> None:
        self.hub = hub
        self.person = person
        self.base = f"/user/{person.name}"
        self.kernel = ""
        self._sockets: list[WebSocketClientConnection] = []

    async def open(self) -> None:
        """Start the server where it does not run, enter it, and have a kernel."""
        name = self.person.name
        answer = await self.hub.api("POST", f"users/{name}/server")
        assert answer.status_code in {201, 202, 400}, answer.text
        await seconds_until(self._is_up)
        page = await self.person.go(f"{self.base}/lab")
        assert page.status_code == 200, page.text[-2000:]
        kernels = await self.kernels()
        if not kernels:
            made = await self.person.ask("POST", f"{self.base}/api/kernels", json={})
            assert made.status_code == 201, made.text
            kernels = [made.json()["id"]]
        self.kernel = kernels[0]

    async def kernels(self) -> list[str]:
        """Return the kernels, as whoever may see them does."""
        answer = await self.person.ask("GET", f"{self.base}/api/kernels")
        assert answer.status_code == 200, answer.text
        return [kernel["id"] for kernel in answer.json()]

    async def socket(self, token: str = "") -> WebSocketClientConnection:
        """Open the kernel's socket, by the browser's cookies or by a token."""
        url = (
            f"{self.hub.url.replace('http', 'ws', 1)}{self.base}/api/kernels/{self.kernel}/channels"
        )
        headers = {"Origin": self.hub.url}
        if token:
            headers["Authorization"] = f"token {token}"
        else:
            request = self.person.http.build_request("GET", f"{self.base}/api/kernels")
            headers["Cookie"] = request.headers["Cookie"]
            url += f"?_xsrf={self.person.xsrf(self.base + '/')}"
        self._sockets.append(await websocket_connect(HTTPRequest(url, headers=headers)))
        return self._sockets[-1]

    async def close(self) -> None:
        """Close the sockets; the server goes on."""
        for socket in self._sockets:
            is_open = socket.close_code is None
            socket.close()
            if is_open:
                await closed(socket)

    async def _is_up(self) -> bool:
        model = (await self.hub.api("GET", f"users/{self.person.name}")).json()
        return bool(model["servers"].get("", {}).get("ready"))


async def closed(socket: WebSocketClientConnection) -> int | None:
    """Wait until the other side closes a socket, and return its reason."""
    while await socket.read_message() is not None:
        pass
    return socket.close_code


async def answers(socket: WebSocketClientConnection) -> bool:
    """Tell whether the kernel answers."""
    header = {
        "msg_id": "ask",
        "msg_type": "kernel_info_request",
        "username": "",
        "session": "test",
        "version": "5.3",
    }
    message: dict[str, Any] = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {},
        "channel": "shell",
        "buffers": [],
    }
    await socket.write_message(json.dumps(message))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (said := await socket.read_message()) is not None:
            if "kernel_info_reply" in str(said):
                return True
    return False


async def run(socket: WebSocketClientConnection, code: str) -> str:
    """Run code in the kernel; return what it printed, or the error that it ended with."""
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    header = {
        "msg_id": f"run-{hash(code)}",
        "msg_type": "execute_request",
        "username": "",
        "session": "test",
        "version": "5.3",
    }
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket.write_message(json.dumps({**message, "channel": "shell", "buffers": []}))
    printed = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            said = await socket.read_message()
            assert said is not None, "the socket was closed"
            answer = json.loads(said)
            if answer["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if answer["msg_type"] == "stream":
                printed += answer["content"]["text"]
            elif answer["msg_type"] == "error":
                printed += f"{answer['content']['ename']}: {answer['content']['evalue']}"
            elif answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return printed
