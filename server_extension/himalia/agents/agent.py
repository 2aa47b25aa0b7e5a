"""An agent: ``python -m himalia.agents.agent DESCRIPTOR``, with a socket to control on that.

It runs under its owner's account and does what control may not do itself: it keeps the owner's
snapshots and starts the owner's runs. It listens to nobody else, and ends when control lets go of
the socket; what it started goes on. With ``--stdio`` it talks over its standard input and output.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from himalia import __version__
from himalia.agents.frames import MAX_FRAME, PROTOCOL, NotUnderstood, frame, read_frame
from himalia.agents.messages import Hello, Opening
from himalia.agents.operations import Operations
from himalia.core.errors import HimaliaError

_log = logging.getLogger("himalia.agent")
_NO_NEW_PRIVILEGES = 38
_LOG_BYTES = 2**20
_BUFFERED = 2**20
_Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def main(arguments: list[str] | None = None) -> None:
    """Serve until the other end of the socket is closed."""
    (number,) = sys.argv[1:] if arguments is None else arguments
    connect = _over_stdio() if number == "--stdio" else _over_socket(int(number))
    _give_up_privileges()
    os.umask(0o077)
    os.chdir(os.environ.get("HOME", "/"))
    asyncio.run(_serve(connect))


def _over_socket(number: int) -> _Connect:
    channel = socket.socket(fileno=number)
    channel.set_inheritable(False)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(sock=channel, limit=_BUFFERED)

    return connect


def _over_stdio() -> _Connect:
    # Descriptors of their own: whatever is printed must not get between the frames.
    hears, says = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    os.close(nowhere)
    # Kept for as long as this runs: who started it in a container takes the end of one stream for
    # that of all.
    os.dup(2)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_BUFFERED)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(hears, "rb", buffering=0)
        )
        # The protocol tells the writer when to wait; nothing is ever read through it.
        writing = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        pipe, _ = await loop.connect_write_pipe(lambda: writing, os.fdopen(says, "wb", buffering=0))
        return reader, asyncio.StreamWriter(pipe, writing, None, loop)

    return connect


async def _serve(connect: _Connect) -> None:
    reader, writer = await connect()
    hello = Hello(himalia=__version__, protocol=PROTOCOL)
    writer.write(frame(hello.model_dump()))
    first = await read_frame(reader)
    if first is None:
        return
    opening = Opening.model_validate(first["with"])
    operations = Operations(opening)
    await operations.open()
    _log_to(Path(opening.state))
    writer.write(frame({"id": first["id"], "ok": {}}))
    tasks: set[asyncio.Task[None]] = set()
    try:
        while (asked := await read_frame(reader)) is not None:
            task = asyncio.create_task(_answer(writer, operations, asked))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except NotUnderstood:
        _log.exception("control is not understood")
    finally:
        for task in tasks:
            task.cancel()
        await operations.close()
        writer.close()


async def _answer(
    writer: asyncio.StreamWriter, operations: Operations, asked: dict[str, Any]
) -> None:
    said = await _outcome(operations.do(str(asked.get("do")), asked.get("with")))
    try:
        data = frame({"id": asked.get("id"), **said})
    except NotUnderstood:
        text = f"This is more than {MAX_FRAME // 2**20} MiB."
        data = frame({"id": asked.get("id"), "error": {"code": "too_large", "message": text}})
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def _outcome(doing: Awaitable[BaseModel]) -> dict[str, Any]:
    try:
        return {"ok": (await doing).model_dump(mode="json")}
    except HimaliaError as error:
        problems = [{"field": item.field, "message": item.message} for item in error.problems]
        return {"error": {"code": error.code, "message": error.message, "problems": problems}}
    except (ValidationError, OSError) as error:
        _log.exception("not done")
        text = str(error) if isinstance(error, OSError) else "This cannot be read."
        return {"error": {"code": "internal", "message": text}}
    except Exception as error:  # noqa: BLE001 - logged, and told; the other requests go on
        _log.exception("not done")
        return {"error": {"code": "internal", "message": type(error).__name__}}


def _give_up_privileges() -> None:
    """See that nothing below this process can get rights by a program's set-uid bit."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _log_to(state: Path) -> None:
    """Log to a file of the owner's, and write nothing to where control listens for a bad start."""
    handler = RotatingFileHandler(state / "agent.log", maxBytes=_LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    main()
