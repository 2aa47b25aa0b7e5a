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
_AT_ONCE = "500"
"""Pods in one answer: those of everybody, at once, are more than a process should hold."""
_ALL = ""
_METADATA = (
    *("name", "namespace", "uid", "resourceVersion", "labels", "annotations"),
    *("creationTimestamp", "deletionTimestamp"),
)


@dataclass(slots=True, eq=False)
class Pods:
    """The pods of one namespace, by name: what came last of each, whatever comes twice or late."""

    there: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As they were last seen."""
    wanted_mono: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked for a while."""
        return time.monotonic() - self.wanted_mono > _IDLE_SECONDS

    def put(self, pod: dict[str, Any]) -> bool:
        """Take the state of a pod; tell whether it is news."""
        name = pod["metadata"]["name"]
        known = self.there.get(name) or self.gone.get(name)
        if known is not None and _version(known) >= _version(pod):
            return False
        self.there[name] = _needed(pod)
        self.gone.pop(name, None)
        return True

    def drop(self, pod: dict[str, Any]) -> bool:
        """Take note that a pod is gone; another of its name may be there by now, or gone too."""
        name = pod["metadata"]["name"]
        known = self.there.get(name) or self.gone.get(name)
        if known is not None and _version(known) > _version(pod):
            return False
        is_news = self.there.pop(name, None) is not None
        self.gone[name] = _needed(pod)
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


def _needed(pod: dict[str, Any]) -> dict[str, Any]:
    """Return what is of use here; the rest is by far the largest part."""
    metadata = {name: pod["metadata"][name] for name in _METADATA if name in pod["metadata"]}
    return {"metadata": metadata, "status": pod.get("status", {})}


def _path(watched: str) -> str:
    return f"/api/v1/namespaces/{watched}/pods" if watched else "/api/v1/pods"


def _version(pod: dict[str, Any]) -> int:
    """Return the place of a state in the order of all; what is no number comes last."""
    text = str(pod["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 2**63


@dataclass(slots=True, eq=False)
class _Watch:
    """One namespace, or all."""

    spaces: dict[str, Pods] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    swept_mono: float = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nobody has asked for a while."""
        now_mono = time.monotonic()
        if now_mono > self.swept_mono + _IDLE_SECONDS:
            self.swept_mono = now_mono
            for name in [name for name, pods in self.spaces.items() if pods.is_idle]:
                del self.spaces[name]
        return not self.spaces


class Watching:
    """Keeps a watch for each namespace that somebody asks for, or one for all, and says in which
    something happens.
    """

    def __init__(
        self, api: Api, changed: Callable[[str], None], *, is_of_all: bool = False
    ) -> None:
        self._api = api
        self._changed = changed
        self._is_of_all = is_of_all
        self._watches: dict[str, _Watch] = {}

    def pods(self, namespace: str) -> Pods:
        """Return what is known of a namespace's pods, and see that it is kept up to date."""
        watched = _ALL if self._is_of_all else namespace
        watch = self._watches.setdefault(watched, _Watch())
        pods = watch.spaces.setdefault(namespace, Pods())
        pods.wanted_mono = time.monotonic()
        if watch.task is None or watch.task.done():
            watch.task = asyncio.create_task(
                self._keep(watched, watch), name=f"watch pods in {watched or 'all namespaces'}"
            )
        return pods

    async def close(self) -> None:
        """Watch nothing any more."""
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, watched: str, watch: _Watch) -> None:
        pause = _FIRST_PAUSE
        while not watch.is_idle:
            began_mono = time.monotonic()
            try:
                await self._follow(watched, watch)
            except Outdated:
                # Too much happened since; listing anew shows what came of it.
                continue
            except (Refusal, Unavailable) as error:
                _log.info("watching %s: %s", watched or "all namespaces", error)
            # What happened meanwhile is looked at anew, whoever waits for it.
            for namespace in list(watch.spaces):
                self._changed(namespace)
            has_held = time.monotonic() - began_mono > _LONGEST_PAUSE
            pause = _FIRST_PAUSE if has_held else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load
        if self._watches.get(watched) is watch:
            del self._watches[watched]

    async def _follow(self, watched: str, watch: _Watch) -> None:
        """List, then watch from there, for as long as somebody wants to know."""
        path, query = _path(watched), [("labelSelector", RUNS)]
        version = await self._list(watched, watch.spaces)
        while not watch.is_idle:
            # There is an event a minute at least, if only to say how far this is.
            async with aclosing(self._api.watch(path, query, version)) as events:
                async for event in events:
                    about = event["object"]["metadata"]
                    version = str(about["resourceVersion"])
                    namespace = watched or str(about.get("namespace"))
                    pods = watch.spaces.get(namespace)
                    if pods is not None and pods.apply(event):
                        self._changed(namespace)
                    if watch.is_idle:
                        break

    async def _list(self, watched: str, spaces: dict[str, Pods]) -> str:
        """Take what there is, part by part; return the version of the whole."""
        found: dict[str, list[dict[str, Any]]] = {namespace: [] for namespace in spaces}
        onward = ""
        while True:
            part = [("labelSelector", RUNS), ("limit", _AT_ONCE)]
            listed = await self._api.get(
                _path(watched), [*part, ("continue", onward)] if onward else part
            )
            for pod in listed.get("items") or []:
                namespace = watched or pod["metadata"]["namespace"]
                if namespace in found:
                    found[namespace].append(_needed(pod))
            onward = listed["metadata"].get("continue", "")
            if not onward:
                break
        for namespace, pods in found.items():
            if namespace in spaces and spaces[namespace].replace(pods):
                self._changed(namespace)
        return str(listed["metadata"]["resourceVersion"])
