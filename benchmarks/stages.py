"""When pods come how far, by this process's clock, as the API server tells of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from himalia.backends.kubernetes.api import Api

_LOOK_SECONDS = 0.005


class Stages:
    """Notes when each pod was made, found its node, ran and ended."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._pods: dict[str, dict[str, float]] = {}
        self._names: dict[str, str] = {}

    @asynccontextmanager
    async def following(self, api: Api) -> AsyncIterator[None]:
        """Follow all pods in namespaces with the prefix."""
        listed = await api.get("/api/v1/pods", [("limit", "1")])
        version = str(listed["metadata"]["resourceVersion"])
        task = asyncio.create_task(self._follow(api, version))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def of(self, name: str, *stages: str) -> dict[str, float]:
        """Return when the last pod of this name reached what it did, at least these stages."""
        async with asyncio.timeout(60):
            while True:
                found = self._pods.get(self._names.get(name, ""), {})
                if all(stage in found for stage in stages):
                    return found
                await asyncio.sleep(_LOOK_SECONDS)

    async def _follow(self, api: Api, version: str) -> None:
        while True:
            async with aclosing(api.watch("/api/v1/pods", (), version)) as events:
                async for event in events:
                    about = event["object"]["metadata"]
                    version = str(about["resourceVersion"])
                    if str(about.get("namespace", "")).startswith(self._prefix):
                        self._note(event["object"])

    def _note(self, pod: dict[str, Any]) -> None:
        now, about, status = time.perf_counter(), pod["metadata"], pod.get("status", {})
        self._names[about["name"]] = about["uid"]
        self._names[about.get("labels", {}).get("job-name", "")] = about["uid"]
        known = self._pods.setdefault(about["uid"], {})
        known.setdefault("made", now)
        if pod["spec"].get("nodeName"):
            known.setdefault("placed", now)
        if status.get("phase") == "Running":
            known.setdefault("running", now)
        if status.get("phase") in {"Succeeded", "Failed"}:
            known.setdefault("ended", now)
