"""What control holds of an agent's process: words both ways, and its end."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

_LAST_WORDS = 2000


class Cut(Exception):
    """What led to the agent broke; the agent itself may be as well as ever. The text says why."""


class Link(Protocol):
    """A way to one agent, wherever it is."""

    @property
    def pid(self) -> int | None:
        """Its process id, where it is on this machine."""

    @property
    def name(self) -> str:
        """What it is called in a log."""

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes.

        :raises asyncio.IncompleteReadError: the agent ended before.
        :raises Cut: nobody knows.
        """

    async def send(self, data: bytes) -> None:
        """Say something, all of it or, where the agent is gone, as much as may be."""

    def close(self) -> None:
        """Let go: an agent that nobody holds ends by itself, and what it started goes on."""

    def kill(self) -> None:
        """End the agent, as far as it is in reach."""

    async def wait(self) -> None:
        """Return when it has ended, or is out of reach."""

    async def last_words(self) -> str:
        """Return what it said where nobody should hear it, when it ended."""


class ChildLink:
    """The way to a child of this process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def name(self) -> str:
        """What it is called in a log."""
        return f"process {self._process.pid}"

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes (:raises asyncio.IncompleteReadError: there are no more)."""
        return await self._reader.readexactly(n)

    async def send(self, data: bytes) -> None:
        """Say something."""
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Let go of it."""
        self._writer.close()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._writer.close()

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def last_words(self) -> str:
        """Return the end of its standard error."""
        words = b""
        if self._process.stderr is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    words = await self._process.stderr.read(_LAST_WORDS)
        return words.decode("utf-8", "replace")
