"""An API server that follows a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from himalia.backends.kubernetes.api import Api

PODS = "/api/v1/namespaces/x/pods"
Answer = web.StreamResponse
Handler = Callable[[web.Request], Awaitable[Answer]]


class Server:
    """Answers by a script: the next handler for each request, the last one for all others."""

    def __init__(self, *script: Handler) -> None:
        self.script = list(script)
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> Answer:
        self.requests.append(request)
        handler = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await handler(request)


@asynccontextmanager
async def asked(folder: Path, *script: Handler) -> AsyncIterator[tuple[Api, Server]]:
    """Give an API whose server follows a script."""
    server = Server(*script)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": "the-token"}}],
    }
    (folder / "config").write_text(json.dumps(config))
    api = await Api.connect(folder / "config")
    try:
        yield api, server
    finally:
        await api.close()
        await runner.cleanup()


def says(status: int, *, body: Any = None, **headers: str) -> Handler:
    async def answer(_request: web.Request) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({} if body is None else body, status=status, headers=names)

    return answer


def refuses(code: int, reason: str, message: str = "no") -> Handler:
    status = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return says(code, body=status)


def streams(*events: Any) -> Handler:
    async def answer(request: web.Request) -> Answer:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    return answer


async def hangs(_request: web.Request) -> Answer:
    await asyncio.sleep(600)
    raise AssertionError


async def breaks(request: web.Request) -> Answer:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


def listed(version: int, *pods: Any) -> Handler:
    return says(200, body={"metadata": {"resourceVersion": str(version)}, "items": list(pods)})
