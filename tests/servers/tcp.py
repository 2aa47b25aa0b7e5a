"""A TCP proxy that breaks as networks do: for what happens when the other side is gone or slow.

async with TcpProxy("127.0.0.1", 5432) as proxy:
    connect("127.0.0.1", proxy.port)
    proxy.stall()
    ...
    await proxy.heal()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536


class TcpProxy:
    """Passes bytes on between its clients and one address; answers `port` once entered.

    What is broken stays so until :meth:`heal`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._answers = asyncio.Event()
        self._flows.set()
        self._answers.set()
        self._delay_seconds = 0.0
        self.port = 0
        self.connections = 0
        """How many were taken so far."""

    async def __aenter__(self) -> Self:
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    @property
    def open_connections(self) -> int:
        """How many are open now."""
        return len(self._links)

    def cut(self) -> None:
        """End every connection at once, as a reset; new ones are taken."""
        for writer in tuple(self._writers):
            _reset(writer)
        for link in tuple(self._links):
            link.cancel()

    def stall(self, *, answers_only: bool = False) -> None:
        """Let bytes wait, in both directions or only those that come back.

        With `answers_only` the other side does what it is asked, and nobody hears of it.
        """
        self._answers.clear()
        if not answers_only:
            self._flows.clear()

    def slow(self, seconds: float) -> None:
        """Deliver whatever is sent from now on late by `seconds`, in each direction."""
        self._delay_seconds = seconds

    async def refuse(self) -> None:
        """Refuse new connections; open ones go on."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def vanish(self) -> None:
        """Refuse new connections and end the open ones, as a killed server does."""
        await self.refuse()
        self.cut()

    async def heal(self) -> None:
        """Pass on everything again, at the same port."""
        self._delay_seconds = 0.0
        self._flows.set()
        self._answers.set()
        if self._socket is None:
            self._listen()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._socket = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self.connections += 1
            # Opened before its task: one that is cut before that begins is still closed.
            near = await asyncio.open_connection(sock=client)
            self._writers.add(near[1])
            link = asyncio.create_task(self._link(*near))
            self._links.add(link)
            link.add_done_callback(self._links.discard)

    async def _link(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        writers = [back]
        try:
            far = await asyncio.open_connection(*self._target)
            writers.append(far[1])
            self._writers.add(far[1])
            await asyncio.gather(
                self._pass_on(near, far[1], self._flows),
                self._pass_on(far[0], back, self._answers),
            )
        except OSError:
            # One side is gone, or was never there; the other is told in the same way.
            for writer in writers:
                _reset(writer)
        finally:
            for writer in writers:
                self._writers.discard(writer)
                writer.close()

    async def _pass_on(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        while chunk := await source.read(_CHUNK_BYTES):
            if self._delay_seconds:
                await asyncio.sleep(self._delay_seconds)
            await may.wait()
            to.write(chunk)
            await to.drain()
        await may.wait()
        with contextlib.suppress(OSError):
            to.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its other end learns at once that it was not in order."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
