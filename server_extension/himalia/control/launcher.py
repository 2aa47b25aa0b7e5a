"""Finds the user's control, starts it where there is none, and stops it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from himalia import __version__
from himalia.control.lock import FileLock
from himalia.core.errors import Unavailable
from himalia.core.places import Places
from himalia.core.variables import of_control
from himalia.handlers.peer import Peer, peer_of

READY = b"ready\n"
_READY_SECONDS = 15.0
_STOP_SECONDS = 15.0
_START_LOCK_SECONDS = 40.0
_CONNECT_SECONDS = 2.0
_TAIL_BYTES = 2000


async def ensure_control(places: Places | None = None) -> Path:
    """Return the socket of a control that answers; start one, or replace one that is older.

    However many call this at once, in however many processes, one control is started.

    :raises Unavailable: it does not start; the text has the end of its log.
    """
    return await asyncio.to_thread(_ensure, places or Places.of_user())


async def find_control(places: Places | None = None) -> Path | None:
    """Return the socket of the control that runs, if one does."""
    where = places or Places.of_user()
    found = await asyncio.to_thread(_probe, where)
    return None if found is None else where.socket


async def stop_control(places: Places | None = None) -> bool:
    """Stop the control that runs, and wait for its end; False when there was none.

    Workloads go on, and the next control finds them again.

    :raises Unavailable: it does not stop.
    """
    return await asyncio.to_thread(_stop, places or Places.of_user())


def _ensure(places: Places) -> Path:
    places.prepare()
    if _probe(places) is not None and not _is_older(places):
        return places.socket
    with FileLock(places.control_lock.with_suffix(".start")) as lock:
        if not lock.take(_START_LOCK_SECONDS):
            raise Unavailable("Himalia's control is being started, and takes too long. Try again.")
        if _probe(places) is not None:
            if not _is_older(places):
                return places.socket
            _stop(places)
        _start(places)
    return places.socket


def _probe(places: Places) -> Peer | None:
    """Connect: control listens only when it can answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(os.fspath(places.socket))
            peer = peer_of(connection)
        except (FileNotFoundError, ConnectionError):
            return None
        except OSError as error:
            raise Unavailable(f"{places.socket} does not answer: {error.strerror}.") from error
    if peer.uid != os.getuid():
        raise Unavailable(f"{places.socket} is another user's. Set HIMALIA_HOME to your own.")
    return peer


def _is_older(places: Places) -> bool:
    try:
        running = str(json.loads(places.control_file.read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        # Written before control listens: without it, it is not one of ours that we know.
        return False
    return _numbers(running) < _numbers(__version__)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _start(places: Places) -> None:
    before = _size(places.control_log)
    reader, writer = os.pipe()
    try:
        _spawn(places, writer)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as ready:
        said = ready.read() if select.select([ready], [], [], _READY_SECONDS)[0] else None
    # Another one may have come first, one that this start did not know of.
    if said == READY or _probe(places) is not None:
        return
    what = "did not start in time" if said is None else "ended while it started"
    raise Unavailable(f"Himalia's control {what}. {_tail(places.control_log, before)}")


def _spawn(places: Places, ready: int) -> None:
    """Start control detached: it is nobody's child, and belongs to no terminal or folder."""
    command = [sys.executable, "-P", "-m", "himalia.control", "serve", "--background"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(places.control_log, flags, 0o600)
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and module
            [*command, "--ready-fd", str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(places),
            pass_fds=(ready,),
            start_new_session=True,
            check=False,
            timeout=_READY_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"Himalia's control cannot be started: {error}.") from error
    finally:
        os.close(log)


def _environment(places: Places) -> dict[str, str]:
    return {**of_control(os.environ), "HIMALIA_HOME": str(places.home)}


def _stop(places: Places) -> bool:
    peer = _probe(places)
    if peer is None:
        return False
    if peer.pid <= 0:
        raise Unavailable("Himalia's control runs in another container. Stop it there.")
    try:
        os.kill(peer.pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    end = time.monotonic() + _STOP_SECONDS
    # Free only when it has ended: it is held for control's life.
    with FileLock(places.control_lock) as lock:
        if not lock.take(max(0.0, end - time.monotonic())):
            raise Unavailable(f"Himalia's control, process {peer.pid}, does not stop.")
    return True


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _tail(log: Path, start: int) -> str:
    """Return the end of what was logged since `start`."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= end else 0, end - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        text = ""
    return f"The end of {log}:\n{text}" if text else f"Its log, {log}, says nothing."
