"""Somebody at work in their own session at a hub: files, kernels, jobs, by cookies as a page."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

ENDS = {"succeeded", "failed", "stopped", "skipped"}


class Session(AbstractAsyncContextManager["Session"]):
    """A user whose server runs; use it as a context."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.base = hub.home(name)
        self.visitor = Visitor(hub.url, name, trust=hub.trust)
        self._sockets: list[WebSocketClientConnection] = []

    async def __aenter__(self) -> Self:
        await self.visitor.log_in(self.hub.password)
        known = (await self.hub.api("GET", f"users/{self.name}")).json()["servers"]
        if "" not in known:
            await self.hub.open_server(self.name)
        page = await self.visitor.enter(f"{self.base}lab")
        assert page.status_code == 200, page.text[-1000:]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for socket in self._sockets:
            # Those that the other side ended as well: they warn where they are merely dropped.
            socket.close()
        await self.visitor.http.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to the user's server, as its page does."""
        return await self.visitor.ask(method, f"{self.base}{path}", **options)

    async def write(self, name: str, *sources: str) -> str:
        """Write a notebook of these code cells."""
        cells = [
            {"cell_type": "code", "id": f"c{index}", "source": source, "metadata": {},
             "outputs": [], "execution_count": None}
            for index, source in enumerate(sources)
        ]  # fmt: skip
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells,
        }  # fmt: skip
        body = {"type": "notebook", "format": "json", "content": content}
        answer = await self.ask("PUT", f"api/contents/{name}", json=body)
        assert answer.status_code in {200, 201}, answer.text
        return name

    async def job(self, *sources: str, name: str = "job.ipynb", **spec: Any) -> dict[str, Any]:
        """Run these cells as a job; return the run that was made."""
        await self.write(name, *sources)
        body = {"spec": {"notebook": name, **spec}, "run": True}
        answer = await self.ask("POST", "himalia/api/jobs", json=body)
        assert answer.status_code == 201, answer.text
        runs = await self.ask("GET", f"himalia/api/jobs/{answer.json()['id']}/runs")
        found: dict[str, Any] = runs.json()["items"][0]
        return found

    async def ended(self, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run, and return it; a gap in between is no end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await self.ask("GET", f"himalia/api/runs/{run_id}")
                    if answer.status_code == 200 and answer.json()["status"] in ENDS:
                        found: dict[str, Any] = answer.json()
                        return found
                except (httpx.HTTPError, ValueError):
                    # A proxy that just came back may know the hub's pages alone.
                    pass
                await asyncio.sleep(0.1)

    async def said(self, run_id: str) -> str:
        """Return what the cells of a run printed."""
        outputs = (await self.ask("GET", f"himalia/api/runs/{run_id}/outputs")).json()["items"]
        (name,) = (one["name"] for one in outputs if one["name"].endswith(".ipynb"))
        notebook = (await self.ask("GET", f"himalia/api/runs/{run_id}/outputs/{name}")).json()
        return "".join(
            "".join(output.get("text", ""))
            for cell in notebook["cells"]
            for output in cell["outputs"]
        )

    async def kernel(self) -> str:
        """Start a kernel."""
        answer = await self.ask("POST", "api/kernels", json={"name": "python3"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def socket(self, kernel_id: str) -> WebSocketClientConnection:
        """Open a kernel's WebSocket, as a page does."""
        page = urlsplit(self.base)
        request = HTTPRequest(
            f"ws://127.0.0.1:{self.hub.port}{page.path}api/kernels/{kernel_id}/channels",
            headers={
                "Host": page.netloc,
                "Cookie": self.visitor.cookies(self.base),
                "Origin": f"{page.scheme}://{page.netloc}",
            },
        )
        opened = await websocket_connect(request)
        self._sockets.append(opened)
        return opened


async def execute(socket: WebSocketClientConnection, code: str) -> str:
    """Run code over an open WebSocket, and return what it printed."""
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "",
        "session": "tests", "date": "2026-01-01T00:00:00Z", "version": "5.3",
    }  # fmt: skip
    content = {
        "code": code, "silent": False, "store_history": False, "user_expressions": {},
        "allow_stdin": False, "stop_on_error": True,
    }  # fmt: skip
    message = {
        "header": header, "parent_header": {}, "metadata": {}, "content": content,
        "channel": "shell", "buffers": [],
    }  # fmt: skip
    await socket.write_message(json.dumps(message))
    text = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            said = await socket.read_message()
            if said is None:
                raise ConnectionError("the WebSocket was closed")
            answer = json.loads(said)
            if answer["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if answer["msg_type"] == "stream":
                text += answer["content"]["text"]
            # The reply may overtake what was printed; this comes after all of it.
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                return text
