"""Ports for servers of tests, which may go and come back.

None that the system hands out: whoever connects anywhere would get one of a server that is down.
"""

from __future__ import annotations

import secrets
import socket

_FIRST, _COUNT = 18_000, 12_000
"""Below what systems hand out, and what clusters open on their nodes."""


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as trial:
            try:
                trial.bind(("", port))
            except OSError:
                continue
            return port
