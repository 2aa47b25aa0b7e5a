"""Server-sent events: how they are written, kept alive and limited in number."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Protocol, cast

from himalia.core.errors import TooMany
from himalia.handlers.calls import Event

KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": still here\n\n"
STREAMS_LIMIT = 50
"""Of one user; each is a connection that stays open."""


class Streams:
    """Counts who follows how much."""

    def __init__(self, limit: int = STREAMS_LIMIT) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    @contextmanager
    def take(self, owner: str) -> Iterator[None]:
        """Hold one of the owner's streams (:raises TooMany: all are taken)."""
        if self._open[owner] >= self._limit:
            raise TooMany(f"You follow {self._limit} runs already. Close a page that follows one.")
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]


class _Closing(Protocol):
    """Resolved when the client has gone."""

    async def wait(self) -> object:
        """Wait for it."""


def encode_event(event: Event) -> bytes:
    """Write one event; JSON has no bare line end, so `data` is one line."""
    return f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()


async def follow(
    events: AsyncIterator[Event], gone: _Closing, keep_alive: float | None = None
) -> AsyncGenerator[bytes]:
    """Yield what to send, from the first event on, until the end or until the client has gone.

    `events` is closed in every case, so that nobody reads on for a client that left.
    """
    leaving = asyncio.ensure_future(gone.wait())
    async with aclosing(cast("AsyncGenerator[Event]", events)):
        coming: asyncio.Future[Event] = asyncio.ensure_future(anext(events))
        try:
            while not leaving.done():
                await asyncio.wait(
                    (coming, leaving),
                    timeout=keep_alive or KEEP_ALIVE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if coming.done():
                    try:
                        event = coming.result()
                    except StopAsyncIteration:
                        return
                    yield encode_event(event)
                    if event.type == "end":
                        return
                    coming = asyncio.ensure_future(anext(events))
                elif not leaving.done():
                    yield KEEP_ALIVE
        finally:
            leaving.cancel()
            coming.cancel()
            # A generator that is still running cannot be closed.
            await asyncio.wait((coming,))
            if not coming.cancelled():
                coming.exception()
