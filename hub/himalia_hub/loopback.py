"""Demo logins, as far as they matter before JupyterHub is there: who may reach them, and how."""

from __future__ import annotations

import ipaddress
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


def welcome(password: str, *, admin: str = ADMIN_NAME) -> str:
    """Say how to get in."""
    return (
        f"\n  Demo logins: any name, for example alice or bob; {admin} is the admin."
        f"\n  Password: {password}\n\n"
    )
