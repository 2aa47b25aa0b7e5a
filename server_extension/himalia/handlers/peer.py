"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from himalia.core.errors import Forbidden
from himalia.core.names import user_name

if TYPE_CHECKING:
    # Clients ask who serves them, and need no server for that.
    from tornado.httputil import HTTPServerRequest

_SOL_LOCAL, _PEER_CREDENTIALS, _PEER_PID = 0, 1, 2
"""macOS, sys/un.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process, as the system names it."""

    pid: int
    uid: int


def peer_of(connected: socket.socket) -> Peer:
    """Ask the system; the peer cannot say anything else."""
    if sys.platform == "darwin":
        # struct xucred begins with its version and the user.
        data = connected.getsockopt(_SOL_LOCAL, _PEER_CREDENTIALS, struct.calcsize("2Ih16I"))
        _, uid = struct.unpack_from("2I", data)
        (pid,) = struct.unpack("i", connected.getsockopt(_SOL_LOCAL, _PEER_PID, 4))
        return Peer(pid=pid, uid=uid)
    data = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", data)
    return Peer(pid=pid, uid=uid)


def only_user(uid: int) -> Callable[[HTTPServerRequest], str]:
    """Serve the processes of one user of this machine, by whose name things are owned.

    Not even root's, which has other ways in: what it makes by mistake would be the user's.
    """
    owner = user_name(uid)

    def identify(request: HTTPServerRequest) -> str:
        # Tornado's stream, which its interface does not show.
        connection: Any = request.connection
        connected: socket.socket = connection.stream.socket
        if peer_of(connected).uid != uid:
            raise Forbidden("This socket belongs to another user.")
        return owner

    return identify
