"""Control itself: the one process of a user that owns the workloads."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from logging.handlers import RotatingFileHandler
from typing import IO, Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from typing_extensions import override

from himalia import __version__
from himalia.backends.local.backend import LocalBackend
from himalia.control.idle import Idleness
from himalia.control.launcher import READY
from himalia.control.lock import FileLock
from himalia.control.settings import Settings, read_settings
from himalia.core.errors import HimaliaError
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.places import Places
from himalia.handlers.base import Api, document_of
from himalia.handlers.control import control_application
from himalia.handlers.decoding import BODY_LIMIT
from himalia.handlers.openapi import document
from himalia.handlers.peer import only_user
from himalia.handlers.routes import table
from himalia.handlers.streams import Streams
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore

_LOG_BYTES = 2 * 2**20
_LOG_FILES = 3
_PREDECESSOR_SECONDS = 12.0
"""How long one that is ending may take."""
_SLOW_BODY_SECONDS = 60.0
_ANSWER_SECONDS = 5.0
"""For requests that are being answered when control is told to stop."""
_log = logging.getLogger("himalia.control")


def main(
    *, ready: int | None = None, idle_seconds: float | None = None, is_background: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT, or until there is nothing to do; exit with a status.

    `ready` is a file descriptor to say so on; `idle_seconds` takes precedence over the settings.
    """
    places = Places.of_user()
    try:
        places.prepare()
        _log_to(places, is_background=is_background)
        # Never released: who waits for the lock waits for the end of this process.
        if not FileLock(places.control_lock).take(_PREDECESSOR_SECONDS):
            _log.info("another control runs already")
            return
        settings = read_settings(places)
        if idle_seconds is not None:
            settings = settings.model_copy(update={"idle_seconds": idle_seconds})
        asyncio.run(_serve(places, settings, ready))
    except HimaliaError as error:
        _log.error("%s", error.message)
        sys.exit(1)


async def _serve(places: Places, settings: Settings, ready: int | None) -> None:
    kinds = load_kinds()
    store = SqlStore(places.store, kinds.decode_spec)
    backend = LocalBackend(
        places,
        pool_size=settings.pool_size,
        pool_idle_seconds=settings.pool_idle_seconds,
        log_limit_bytes=settings.log_limit_bytes,
    )
    service = LocalService(
        store=store,
        backend=backend,
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=settings.max_running, smtp_url=settings.smtp_url),
    )
    streams = Streams()
    idleness = Idleness(store=store, streams=streams, seconds=settings.idle_seconds)
    api = Api(
        service=lambda: service,
        document=document_of(lambda: document(kinds.values())),
        streams=streams,
        asking=idleness.asking,
    )
    application = control_application(table(kinds.values()), api, identify=only_user(os.getuid()))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        await service.open()
        stack.push_async_callback(service.close)
        _listen(stack, places, application, idleness)
        _log.info("control %s listens, process %d", __version__, os.getpid())
        # What was made until now stays: no collection need look at it again.
        gc.collect()
        gc.freeze()
        if ready is not None:
            _say_ready(ready)
        await _first(stopping.wait(), idleness.wait())
        _log.info("control ends%s", "" if stopping.is_set() else ": there is nothing to do")


def _listen(stack: AsyncExitStack, places: Places, application: Any, idleness: Idleness) -> None:
    """Listen, and say who does; undone in the opposite order, while the lock is still held."""
    server = HTTPServer(
        application,
        max_body_size=4 * BODY_LIMIT,
        body_timeout=_SLOW_BODY_SECONDS,
        idle_connection_timeout=3600,
    )
    _write_control_file(places)
    stack.callback(places.control_file.unlink, missing_ok=True)
    # A socket that a killed control left is replaced: the lock tells that nobody listens to it.
    listening = bind_unix_socket(os.fspath(places.socket), mode=0o600)
    stack.push_async_callback(server.close_all_connections)
    stack.push_async_callback(idleness.answered, _ANSWER_SECONDS)
    stack.callback(places.socket.unlink, missing_ok=True)
    stack.callback(server.stop)
    server.add_socket(listening)


def _write_control_file(places: Places) -> None:
    said = {
        "version": __version__,
        "pid": os.getpid(),
        "socket": os.fspath(places.socket),
        "started_at": datetime.now(UTC).isoformat(),
    }
    new = places.control_file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(said, file)
    new.replace(places.control_file)


def _say_ready(descriptor: int) -> None:
    # Whoever waited may have gone; then nobody needs to know.
    with suppress(OSError):
        os.write(descriptor, READY)
    with suppress(OSError):
        os.close(descriptor)


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


class _PrivateLog(RotatingFileHandler):
    """Readable by the user alone, from its first moment."""

    @override
    def _open(self) -> Any:
        opener = partial(os.open, mode=0o600)
        made: IO[str] = open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener)  # noqa: SIM115 - a handler closes it
        return made


def _log_to(places: Places, *, is_background: bool) -> None:
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handlers: list[logging.Handler] = [
        _PrivateLog(
            places.control_log, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8"
        )
    ]
    if not is_background:
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
