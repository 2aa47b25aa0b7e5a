"""Hosts: where browsers find a hub, and which cookies may be bound to one host each."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

from traitlets.config import Config

from himalia_hub.later import Later

TEMPLATES = Path(__file__).parent / "templates"
"""What the hub's own pages say of hosts."""
PLAIN_HTTP = (
    "Every user has a host of their own below {host}, but without TLS: whoever's page somebody "
    "opens can set cookies for the other hosts, and sign them in as another user. Serve it by "
    "https, and set c.JupyterHub.subdomain_host to the https address."
)
_log = logging.getLogger("himalia.hub")


def subdomain_host(c: Config) -> str:
    """Return the address below which each user has a host; empty where all share one."""
    host = str(c.JupyterHub.get("subdomain_host") or "")
    return f"https://{host}" if host and "://" not in host else host


def has_own_https(c: Config) -> bool:
    """Tell whether every user has a host of their own, behind TLS."""
    return urlsplit(subdomain_host(c)).scheme == "https"


def binds_cookies(c: Config) -> bool:
    """Tell whether cookies are bound to one host each; JupyterHub does not tell its services."""
    said = c.JupyterHub.get("cookie_host_prefix_enabled", False)
    return has_own_https(c) if isinstance(said, Later) else bool(said)


def warn_of(c: Config) -> None:
    """Log what a hub with hosts, but without TLS, does not guard against."""
    host = urlsplit(subdomain_host(c))
    name = host.hostname or ""
    if host.scheme == "http" and name != "localhost" and not name.endswith(".localhost"):
        _log.warning("%s", PLAIN_HTTP.format(host=host.netloc))
