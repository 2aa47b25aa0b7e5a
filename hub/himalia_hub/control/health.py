"""Whether control lives, whether it can work, and numbers for those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from himalia import __version__
from himalia.core.errors import Forbidden, HimaliaError, Unauthenticated
from himalia.core.local import LocalService
from himalia.core.model import Status
from himalia_hub.admin.rights import HUB_ADMIN
from himalia_hub.control.tokens import Tokens
from himalia_hub.plain import PlainHandler

_PATIENCE_SECONDS = 3.0
_RESULTS = ("claimed", "taken_over", "none", "full", "failed")
_SCOPES = frozenset({"read:metrics", HUB_ADMIN})
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host")
Check = Callable[[], Awaitable[str | None]]
"""Says what is wrong, or nothing; a text without anything secret."""


class Numbers:
    """What control counts; no name of a user is in any of it."""

    def __init__(self, *, tokens: Tokens, duties: Callable[[], Sequence[str]]) -> None:
        self._tokens = tokens
        self._duties = duties
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "himalia_requests", "Answers, by route and status.", ("route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._store_errors = Counter(
            "himalia_unavailable", "Answers that said: not now.", registry=self.registry
        )
        self._runs = self._gauge("himalia_runs", "Runs that have not ended.", "status")
        self._claims = self._gauge(
            "himalia_claims", "Runs that this control claimed, and claims without one.", "result"
        )
        self._open = self._gauge("himalia_streams", "Event streams that are open.")
        self._agents = self._gauge("himalia_agents", "Agents that are up.")
        self._held = self._gauge("himalia_duties", "Duties that this control leads.")
        self._hits = self._gauge("himalia_token_checks", "Checks of tokens.", "from")
        self._up = self._gauge("himalia_store_up", "Whether the store answers.")

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)

    def answered(self, route: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._store_errors.inc()

    async def text(self, service: LocalService | None, *, streams: int, agents: int) -> bytes:
        """Return everything in the form that Prometheus reads."""
        self._open.set(streams)
        self._agents.set(agents)
        self._held.set(len(self._duties()))
        counts = self._tokens.counts
        self._hits.labels("memory").set(counts.hits)
        self._hits.labels("hub").set(counts.misses)
        found: Mapping[Status, int] | None = None
        if service is not None:
            for result in _RESULTS:
                self._claims.labels(result).set(service.parts.reconciler.claims[result])
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    found = await service.parts.store.runs.counts()
            except (HimaliaError, TimeoutError):
                found = None
        self._up.set(found is not None)
        for status in Status:
            if found is not None and not status.is_terminal:
                self._runs.labels(status.value).set(found.get(status, 0))
        return generate_latest(self.registry)


class Live(PlainHandler):
    """Whether the process answers."""

    async def get(self) -> None:
        """Say so."""
        self.say(HTTPStatus.OK, {"status": "live", "version": __version__})


class Ready(PlainHandler):
    """Whether it can work."""

    def initialize(self, checks: Mapping[str, Check], needed: Collection[str]) -> None:
        """Take what is looked at, by name, and without which of that nothing works."""
        self._checks = checks
        self._needed = needed

    async def get(self) -> None:
        """Say what is wrong, if anything is."""
        found = await asyncio.gather(*(_look(check) for check in self._checks.values()))
        parts = {name: said or "ok" for name, said in zip(self._checks, found, strict=True)}
        if any(parts[name] != "ok" for name in self._needed):
            self.set_header("Retry-After", "2")
            self.say(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "parts": parts})
        else:
            # Whoever asks for what is in the store is answered; all controls miss the rest at once.
            status = "degraded" if any(found) else "ready"
            self.say(HTTPStatus.OK, {"status": status, "parts": parts})


async def _look(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await check()
    except (HimaliaError, TimeoutError):
        return "does not answer"


class Metrics(PlainHandler):
    """The numbers, for whom the settings let see them."""

    def initialize(
        self,
        tokens: Tokens,
        text: Callable[[], Awaitable[bytes]],
        who: Literal["scope", "loopback"],
    ) -> None:
        """Take what knows who asks, and what is told."""
        self._tokens = tokens
        self._text = text
        self._who = who

    async def get(self) -> None:
        """Send them."""
        if not (self._who == "loopback" and self._is_near()):
            await self._check()
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(await self._text())

    def _is_near(self) -> bool:
        # The proxy runs on this machine too, and says for whom it asks.
        headers = self.request.headers
        return self.request.remote_ip in {"127.0.0.1", "::1"} and not any(
            name in headers for name in _FORWARDED
        )

    async def _check(self) -> None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in {"token", "bearer"}:
            raise Unauthenticated("Send a token with the scope read:metrics.")
        identity = await self._tokens.identify(token.strip())
        if not identity.scopes & _SCOPES:
            raise Forbidden("This token has not the scope read:metrics.")
