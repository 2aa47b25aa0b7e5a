"""Connections to one server, kept for the next question; on the parts that control is made of."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from typing_extensions import override

_MOST = 20
_MOST_KEPT = 10
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 10.0
_WAIT_SECONDS = 5.0
"""For one of the connections, where all are taken."""
_LONGEST_BODY = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


class Connections:
    """Asks one server over HTTP/1.1. Redirects are not followed."""

    def __init__(self, url: str, ssl_options: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        self._base = parts.path.rstrip("/")
        self._ssl = ssl_options or (ssl.create_default_context() if self._is_tls else None)
        self._free = asyncio.Semaphore(_MOST)
        self._kept: list[IOStream] = []
        self._is_closed = False

    async def ask(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Send a request without a body, and return its answer.

        :param path: below the server's address, with its query.
        :raises OSError: the server is not there, or broke off.
        :raises TimeoutError: it does not answer.
        """
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._free.acquire()
        try:
            while (stream := self._one_kept()) is not None:
                try:
                    return await self._over(stream, method, path, headers)
                except StreamClosedError:
                    # The server let go of it while nobody asked; that says nothing of now.
                    continue
            return await self._over(await self._connected(), method, path, headers)
        finally:
            self._free.release()

    def close(self) -> None:
        """Let go of the connections."""
        self._is_closed = True
        while self._kept:
            self._kept.pop().close()

    def _one_kept(self) -> IOStream | None:
        while self._kept:
            stream = self._kept.pop()
            if not stream.closed():
                return stream
        return None

    async def _connected(self) -> IOStream:
        async with asyncio.timeout(_CONNECT_SECONDS):
            try:
                return await TCPClient().connect(self._host, self._port, ssl_options=self._ssl)
            except StreamClosedError as error:
                raise error.real_error or error from None

    async def _over(
        self, stream: IOStream, method: str, path: str, headers: Mapping[str, str]
    ) -> Answer:
        reply = _Reply()
        parameters = HTTP1ConnectionParameters(max_body_size=_LONGEST_BODY)
        connection = HTTP1Connection(stream, True, parameters)
        sent = HTTPHeaders({"Host": self._netloc, **headers})
        is_open = False
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                start = RequestStartLine(method, f"{self._base}/{path}", "")
                connection.write_headers(start, sent)
                connection.finish()
                is_open = await connection.read_response(reply)
            if not reply.is_whole:
                raise ConnectionError("the answer broke off")
            return Answer(status=reply.status, body=b"".join(reply.chunks))
        finally:
            is_kept = is_open and reply.is_whole and not reply.is_last and not self._is_closed
            if is_kept and len(self._kept) < _MOST_KEPT:
                # Noticed at once when the server closes it.
                stream.set_close_callback(_nothing)
                self._kept.append(stream)
            else:
                stream.close()


class _Reply(HTTPMessageDelegate):
    """Gathers one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.chunks: list[bytes] = []
        self.is_last = False
        self.is_whole = False

    @override
    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        assert isinstance(start_line, ResponseStartLine)
        self.status = start_line.code
        says_close = headers.get("Connection", "").lower() == "close"
        self.is_last = says_close or start_line.version == "HTTP/1.0"

    @override
    def data_received(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    @override
    def finish(self) -> None:
        self.is_whole = True

    @override
    def on_connection_close(self) -> None:
        """What is whole stays so."""


def _nothing() -> None:
    """Listen for the end of a stream."""
