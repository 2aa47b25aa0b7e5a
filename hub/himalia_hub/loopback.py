"""Demo logins, as far as they matter before JupyterHub is there: who may reach them, and how."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

PASSWORD_VARIABLE = "HIMALIA_DEMO_PASSWORD"  # noqa: S105 - a name
ADMIN_NAME = "admin"
REFUSAL = (
    "Demo logins are for this machine alone, and the hub would listen on {address}. Set "
    "c.JupyterHub.bind_url to http://127.0.0.1:8000, or choose another authenticator."
)
_SOCKETS = {"unix", "http+unix", "https+unix"}


def is_loopback(url: str) -> bool:
    """Tell whether only this machine can reach an address to listen on.

    Of names, ``localhost`` alone is trusted: what others stand for may change.
    """
    parts = urlsplit(url)
    if parts.scheme in _SOCKETS:
        return True
    try:
        host = parts.hostname or ""
        if host == "localhost":
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def is_free(url: str) -> bool:
    """Tell whether an address can be listened on."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in _SOCKETS:
        return True
    try:
        found = socket.getaddrinfo(parts.hostname or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104 - asked
        family, kind, number, _, address = found[0]
        with socket.socket(family, kind, number) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError:
        return False
    return True


def welcome(password: str, *, admin: str = ADMIN_NAME) -> str:
    """Say how to get in."""
    return (
        f"\n  Demo logins: any name, for example alice or bob; {admin} is the admin."
        f"\n  Password: {password}\n\n"
    )
