"""Logins for trying out: any name, one password, and only from this machine."""

from __future__ import annotations

import os
import re
import secrets
import sys
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Unicode, default
from typing_extensions import override

from himalia_hub.loopback import ADMIN_NAME, PASSWORD_VARIABLE, REFUSAL, is_loopback, welcome

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}", re.ASCII)


class DemoAuthenticator(Authenticator):  # type: ignore[misc]
    """Lets anybody in who knows the password of this start; refuses to be reached from outside."""

    password = Unicode(
        help="""The password of everybody: by default one is made at each start and printed."""
    ).tag(config=True)

    admin_name = Unicode(ADMIN_NAME, help="""Who is an admin.""").tag(config=True)

    admin_users: set[str]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refuse_if_reachable()
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

    def _refuse_if_reachable(self) -> None:
        """End the hub if others can reach it; its own port shows the same pages as the proxy's."""
        hub = self.parent
        for address in (hub.bind_url, hub.hub_bind_url or f"http://{hub.hub_ip}"):
            if not is_loopback(address):
                text = REFUSAL.format(address=address)
                self.log.critical(text)
                raise SystemExit(text)
