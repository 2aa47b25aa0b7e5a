"""What goes over the socket between control and an agent: JSON objects, each behind its length.

A request is ``{"id", "do", "with"}``; its answer has the same ``id`` and either ``ok`` or
``error``. Requests run at once and are answered in any order. The agent speaks first, and says
which version of this it understands.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Protocol

import pydantic_core

PROTOCOL = 1
MAX_FRAME = 8 * 2**20
"""Bytes; whoever says more is not listened to any longer."""
_LENGTH = struct.Struct(">I")


class NotUnderstood(Exception):
    """What the other side said is not what may be said here."""


class Reader(Protocol):
    """Where frames come from."""

    async def readexactly(self, n: int) -> bytes:
        """Return the next `n` bytes (:raises asyncio.IncompleteReadError: there are no more)."""


async def read_frame(reader: Reader) -> dict[str, Any] | None:
    """Return the next object, or None at the end.

    :raises NotUnderstood: it is too long, cut short, or no JSON object.
    """
    try:
        (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if size > MAX_FRAME:
            raise NotUnderstood(f"a message of {size} bytes")
        data = await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise NotUnderstood("a message that was cut short") from error
        return None
    except ConnectionError:
        return None
    try:
        said = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise NotUnderstood("a message that is no JSON") from error
    if not isinstance(said, dict):
        raise NotUnderstood("a message that is no object")
    return said


def frame(said: dict[str, Any]) -> bytes:
    """Return an object as it is sent (:raises NotUnderstood: it is too long)."""
    data = pydantic_core.to_json(said, inf_nan_mode="null")
    if len(data) > MAX_FRAME:
        raise NotUnderstood(f"a message of {len(data)} bytes")
    return _LENGTH.pack(len(data)) + data
