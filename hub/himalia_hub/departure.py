"""Logging out, which JupyterHub does for whoever sends a user's browser to an address.

An image in a page of somebody else's is enough, and would end all that the user has open. So only a
page that is opened, and not what another page loads, logs out.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from tornado import web

NOT_A_PAGE = "Another page asked for this. Open the address itself to log out."


def guard() -> None:
    """Guard the hub's logout. May be called again; elsewhere than in a hub, does nothing."""
    if "jupyterhub.app" not in sys.modules:
        return
    from jupyterhub.handlers.login import LogoutHandler  # noqa: PLC0415 - is there already

    plain = LogoutHandler.get
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    async def get(self: Any) -> None:
        # What sends no such header is no browser, or one that speaks plain HTTP.
        sent = self.request.headers
        is_opened = sent.get("Sec-Fetch-Dest", "document") == "document"
        if not is_opened or sent.get("Sec-Fetch-Mode", "navigate") != "navigate":
            raise web.HTTPError(403, NOT_A_PAGE)
        await plain(self)

    LogoutHandler.get = get
