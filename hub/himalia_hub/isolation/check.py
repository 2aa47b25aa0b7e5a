"""The check: two namespaces as users have them, a pod in each, and what one reaches."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from himalia.backends.kubernetes.api import Api, NotThere, Refusal
from himalia.core.errors import Unavailable
from himalia.core.names import owner_id
from himalia_hub.isolation.places import OPEN, TITLES, neighbour, probe, targets
from himalia_hub.isolation.probe import Finding
from himalia_hub.kubernetes.asking import Namespaces
from himalia_hub.kubernetes.inner_tls import client_of
from himalia_hub.kubernetes.settings import Kubernetes

_NAME = "isolation-check"
_START_SECONDS = 240.0
_GONE_SECONDS = 120.0
_LOOK_SECONDS = 0.5
_SOON_SECONDS = 5.0
"""A new NetworkPolicy takes a moment; what is open longer than that stays open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found of one thing, and whether that is right."""

    name: str
    is_open: bool

    @property
    def is_right(self) -> bool:
        """Whether it is as it should be."""
        return self.is_open == (self.name in OPEN)

    @property
    def line(self) -> str:
        """It, in words."""
        found = "reached" if self.is_open else "not reached"
        mark = "ok   " if self.is_right else "WRONG"
        return f"{mark}  {TITLES.get(self.name, self.name)}: {found}"


class Check:
    """Makes two people who do not exist, and does away with them."""

    def __init__(self, settings: Kubernetes, api: Api, namespaces: Namespaces) -> None:
        self._settings = settings
        self._api = api
        self._namespaces = namespaces

    async def run(self, store_url: str) -> list[Verdict]:
        """Try everything (:raises Unavailable: a pod did not come up; the text says why)."""
        async with AsyncExitStack() as stack:
            owners = [owner_id(f"{_NAME}-{n}", datetime.now(UTC)) for n in ("one", "two")]
            stack.push_async_callback(self._remove, owners)
            (one, mine), (other, theirs) = [await self._person(owner) for owner in owners]
            await self._make(theirs, neighbour(other, self._settings))
            status = await self._status(theirs, "himalia-neighbour", _is_ready)
            await asyncio.sleep(_SOON_SECONDS)
            tried = targets(self._settings, neighbour=status, store_url=store_url, env=os.environ)
            await self._make(mine, probe(one, self._settings, tried))
            status = await self._status(mine, "himalia-probe", _has_ended)
            return [
                Verdict(name=finding.name, is_open=finding.is_open) for finding in _findings(status)
            ]

    async def _person(self, owner: str) -> tuple[str, str]:
        return owner, await self._namespaces.ensure(owner, _NAME)

    async def _remove(self, owners: list[str]) -> None:
        end = time.monotonic() + _GONE_SECONDS
        left = owners
        while left and time.monotonic() < end:
            left = [owner for owner in left if not await self._namespaces.remove(owner)]
            await asyncio.sleep(_LOOK_SECONDS)

    async def _make(self, namespace: str, pod: dict[str, Any]) -> None:
        try:
            await self._api.create(f"/api/v1/namespaces/{namespace}/pods", pod)
        except Refusal as error:
            raise Unavailable(f"No pod can be made in {namespace}: {error.message}") from error

    async def _status(self, namespace: str, pod: str, is_done: Any) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        end = time.monotonic() + _START_SECONDS
        status: dict[str, Any] = {}
        while time.monotonic() < end:
            try:
                status = (await self._api.get(path)).get("status", {})
            except NotThere as error:
                raise Unavailable(f"{pod} in {namespace} was deleted.") from error
            if is_done(status):
                return status
            await asyncio.sleep(_LOOK_SECONDS)
        raise Unavailable(f"{pod} in {namespace} does not come up: {_why(status)}.")


def _is_ready(status: dict[str, Any]) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", ())
    )


def _has_ended(status: dict[str, Any]) -> bool:
    return status.get("phase") in {"Succeeded", "Failed"}


def _findings(status: dict[str, Any]) -> list[Finding]:
    ended = (status.get("containerStatuses") or [{}])[0].get("state", {}).get("terminated", {})
    try:
        return [Finding(**finding) for finding in json.loads(ended.get("message") or "")]
    except (ValueError, TypeError) as error:
        why = ended.get("message") or ended.get("reason") or status.get("reason") or "no words"
        raise Unavailable(f"The pod that tries ended without findings: {why}") from error


def _why(status: dict[str, Any]) -> str:
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason')} {waiting.get('message', '')}".strip()
    for condition in status.get("conditions", ()):
        if condition["status"] == "False" and condition.get("message"):
            return str(condition["message"])
    return str(status.get("phase") or "nothing is known of it")


async def check(settings: Kubernetes, token: str, store_url: str) -> list[Verdict]:
    """Connect, and run one check.

    :raises HimaliaError: it could not be made; the text says why.
    """
    async with AsyncExitStack() as stack:
        api = await Api.connect()
        stack.push_async_callback(api.close)
        namespaces = Namespaces(settings.namespaces_url, token, client_of(settings))
        stack.push_async_callback(namespaces.close)
        return await Check(settings, api, namespaces).run(store_url)
