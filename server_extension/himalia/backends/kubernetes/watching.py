"""The runs' pods of owners with live attempts, as the API server tells of them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from himalia.backends.kubernetes.api import Api, Outdated, Refusal
from himalia.backends.kubernetes.pods import RUNS
from himalia.core.errors import Unavailable

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 60.0
"""After somebody last asked, until an owner's pods are watched no more."""
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_REMEMBERED = 200
"""Pods that are gone, for each owner."""


@dataclass(slots=True, eq=False)
class Pods:
    """The pods of one namespace, by name: what came last of each, whatever comes twice or late."""

    there: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As they were last seen."""

    def put(self, pod: dict[str, Any]) -> bool:
        """Take the state of a pod; tell whether it is news."""
        name = pod["metadata"]["name"]
        known = self.there.get(name) or self.gone.get(name)
        if known is not None and _version(known) >= _version(pod):
            return False
        # By far the largest part, and of no use here.
        pod["metadata"].pop("managedFields", None)
        self.there[name] = pod
        self.gone.pop(name, None)
        return True

    def drop(self, pod: dict[str, Any]) -> bool:
        """Take note that a pod is gone; another of its name may be there by now."""
        name = pod["metadata"]["name"]
        known = self.there.get(name)
        if known is not None and known["metadata"].get("uid") != pod["metadata"].get("uid"):
            return False
        is_news = self.there.pop(name, None) is not None
        self.gone[name] = pod
        while len(self.gone) > _REMEMBERED:
            self.gone.pop(next(iter(self.gone)))
        return is_news

    def replace(self, pods: list[dict[str, Any]]) -> bool:
        """Take a whole list; tell whether it has news."""
        names = {pod["metadata"]["name"] for pod in pods}
        lost = [pod for name, pod in self.there.items() if name not in names]
        return any([*map(self.drop, lost), *map(self.put, pods)])

    def apply(self, event: dict[str, Any]) -> bool:
        """Take one event of a watch; tell whether it is news."""
        match event["type"]:
            case "ADDED" | "MODIFIED":
                return self.put(event["object"])
            case "DELETED":
                return self.drop(event["object"])
            case _:
                return False


def _version(pod: dict[str, Any]) -> int:
    """Return the place of a state in the order of all; what is no number comes last."""
    text = str(pod["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 2**63


@dataclass(slots=True, eq=False)
class _Watch:
    pods: Pods
    task: asyncio.Task[None] | None = None
    wanted_mono: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked for a while."""
        return time.monotonic() - self.wanted_mono > _IDLE_SECONDS


class Watching:
    """Keeps a watch for each namespace that somebody asks for, and says when something happens."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self._api = api
        self._changed = changed
        self._watches: dict[str, _Watch] = {}

    def pods(self, namespace: str) -> Pods:
        """Return what is known of a namespace's pods, and see that it is kept up to date."""
        watch = self._watches.setdefault(namespace, _Watch(Pods()))
        watch.wanted_mono = time.monotonic()
        if watch.task is None or watch.task.done():
            watch.task = asyncio.create_task(
                self._keep(namespace, watch), name=f"watch pods in {namespace}"
            )
        return watch.pods

    async def close(self) -> None:
        """Watch nothing any more."""
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, namespace: str, watch: _Watch) -> None:
        pause = _FIRST_PAUSE
        while not watch.is_idle:
            began_mono = time.monotonic()
            try:
                await self._follow(namespace, watch)
            except Outdated:
                # Too much happened since; listing anew shows what came of it.
                continue
            except (Refusal, Unavailable) as error:
                _log.info("watching %s: %s", namespace, error)
            # What happened meanwhile is looked at anew, whoever waits for it.
            self._changed()
            has_held = time.monotonic() - began_mono > _LONGEST_PAUSE
            pause = _FIRST_PAUSE if has_held else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
        if self._watches.get(namespace) is watch:
            del self._watches[namespace]

    async def _follow(self, namespace: str, watch: _Watch) -> None:
        """List, then watch from there, for as long as somebody wants to know."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        query = [("labelSelector", RUNS)]
        listed = await self._api.get(path, query)
        version = str(listed["metadata"]["resourceVersion"])
        if watch.pods.replace(listed.get("items") or []):
            self._changed()
        while not watch.is_idle:
            # There is an event a minute at least, if only to say how far this is.
            async with aclosing(self._api.watch(path, query, version)) as events:
                async for event in events:
                    version = str(event["object"]["metadata"]["resourceVersion"])
                    if watch.pods.apply(event):
                        self._changed()
                    if watch.is_idle:
                        break
