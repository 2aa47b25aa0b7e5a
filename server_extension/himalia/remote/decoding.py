"""What a service elsewhere sends: answers, server-sent events, files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from himalia.core.errors import Unavailable
from himalia.core.model import Output, RunEvent

M = TypeVar("M", bound=BaseModel)


def decode(content: bytes, model: type[M]) -> M:
    """Read an answer.

    :raises Unavailable: the service is of a release that this one does not understand.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise Unavailable(
            "Himalia's service is of another release. Restart Jupyter and, if need be, "
            "run: himalia control stop"
        ) from error


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[RunEvent]:
    """Read server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Only line feeds end lines: other readers take U+2028 in a text for a line's end.
    """
    data: list[bytes] = []
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line.strip() and data:
                yield decode(b"\n".join(data), RunEvent)
                data = []


class Download(AsyncIterator[bytes]):
    """A file on its way; must be exhausted or closed."""

    def __init__(self, opened: AbstractAsyncContextManager[httpx.Response]) -> None:
        self._opened = opened
        self._chunks: AsyncIterator[bytes] | None = None

    async def open(self, name: str) -> Output:
        """Begin; return what the server says of the file."""
        response = await self._opened.__aenter__()
        self._chunks = response.aiter_bytes()
        headers = response.headers
        return Output.model_validate(
            {
                "name": name,
                "size_bytes": headers.get("Content-Length", "0"),
                "media_type": headers.get("Content-Type", "").partition(";")[0],
                "role": headers.get("Himalia-Role", "file"),
            }
        )

    @override
    async def __anext__(self) -> bytes:
        assert self._chunks is not None, "it was opened"
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            await self.aclose()
            raise
        except httpx.TransportError as error:
            await self.aclose()
            raise Unavailable("The file broke off. Read it again.") from error

    async def aclose(self) -> None:
        """Let go of the connection."""
        opened, self._opened = self._opened, _Closed()
        await opened.__aexit__(None, None, None)


class _Closed(AbstractAsyncContextManager[httpx.Response]):
    async def __aexit__(self, *_: object) -> None:
        return None
