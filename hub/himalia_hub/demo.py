"""Logins for trying out: any name, one password, and only from this machine."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import sys
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.auth import Authenticator
from traitlets import Unicode, default
from typing_extensions import override

PASSWORD_VARIABLE = "HIMALIA_DEMO_PASSWORD"  # noqa: S105 - a name
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}", re.ASCII)


class DemoAuthenticator(Authenticator):  # type: ignore[misc]
    """Lets anybody in who knows the password of this start; refuses to be reached from outside."""

    password = Unicode(
        help="""The password of everybody: by default one is made at each start and printed."""
    ).tag(config=True)

    admin_name = Unicode("admin", help="""Who is an admin.""").tag(config=True)

    admin_users: set[str]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if (wrong := reachable(self.parent)) is not None:
            self._refuse(wrong)
        if not self.allowed_users:
            self.allow_all = True
        self.admin_users = {*self.admin_users, self.admin_name}
        if not self.password:
            self.password = self._new_password()

    @default("password")
    def _of_supervisor(self) -> str:
        # A hub that is started again under the same supervisor keeps its password.
        return os.environ.get(PASSWORD_VARIABLE, "")

    def _new_password(self) -> str:
        password = secrets.token_urlsafe(9)
        # On the terminal alone: a log is kept, and may be read by others.
        sys.stderr.write(welcome(password, admin=self.admin_name))
        sys.stderr.flush()
        return password

    @override
    def validate_username(self, username: str) -> bool:
        return _NAME.fullmatch(username) is not None and super().validate_username(username)

    @override
    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        given, name = data.get("password", ""), data.get("username", "")
        if not self.password or not name:
            return None
        fits = secrets.compare_digest(given.encode(), self.password.encode())
        return name if fits else None

    def _refuse(self, wrong: str) -> None:
        text = (
            f"Demo logins are for this machine alone, and the hub would listen on {wrong}. Set "
            "c.JupyterHub.bind_url to http://127.0.0.1:8000, or take another authenticator."
        )
        self.log.critical(text)
        raise SystemExit(text)


def welcome(password: str, *, admin: str = "admin") -> str:
    """Say how to get in."""
    return (
        f"\n  Demo logins: any name, for example alice or bob; {admin} is the admin."
        f"\n  Password: {password}\n\n"
    )


def reachable(app: Any) -> str | None:
    """Return an address of the hub that others may reach, if there is one.

    The hub's own port shows the same login pages as the proxy's.
    """
    addresses = [app.bind_url, app.hub_bind_url or f"http://{app.hub_ip}"]
    return next((address for address in addresses if not is_loopback(address)), None)


def is_loopback(url: str) -> bool:
    """Tell whether only this machine can reach an address to listen on.

    Of names, ``localhost`` alone is trusted: what others stand for may change.
    """
    parts = urlsplit(url)
    if parts.scheme in {"unix", "http+unix", "https+unix"}:
        return True
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
