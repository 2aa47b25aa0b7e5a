"""Whoever answers in the hub's or the provider's place sends nobody's token elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jupyterhub.services.auth import HubAuth
from tornado import httpserver, netutil, web

from himalia.changes import NotTold, follow
from himalia.core.errors import HimaliaError
from himalia.core.service import Caller, RunQuery
from himalia.remote.service import RemoteService
from himalia_hub.broker import Broker
from himalia_hub.control.hub_api import HubApi
from himalia_hub.identity.provider import Provider, ProviderRefused, ProviderUnavailable
from himalia_hub.settings import Himalia

pytestmark = pytest.mark.asyncio
TOKEN = "canary-of-control"
STATUSES = (301, 302, 303, 307, 308)


class Place:
    """A server that notes what it is sent; and sends on to `to`, if that is said."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.to = ""
        self.status = 302

    def open(self) -> httpserver.HTTPServer:
        """Listen."""
        place = self

        class Handler(web.RequestHandler):
            def prepare(self) -> None:
                sent = dict(self.request.headers.get_all())
                place.asked.append(f"{self.request.uri} {sent} {self.request.body!r}")
                if place.to:
                    self.set_header("Location", f"{place.to}{self.request.uri}")
                self.set_status(place.status if place.to else 200)
                self.finish("{}")

        (socket,) = netutil.bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        server = httpserver.HTTPServer(web.Application([(".*", Handler)], log_function=str))
        server.add_sockets([socket])
        return server


@pytest_asyncio.fixture
async def places() -> AsyncIterator[tuple[Place, Place]]:
    """Where our programs ask, and where they are sent on to."""
    both = Place(), Place()
    servers = [place.open() for place in both]
    both[0].to = both[1].url
    yield both
    for server in servers:
        server.stop()
        await server.close_all_connections()


async def _of_control(url: str) -> None:
    hub = HubApi(f"{url}/hub/api", TOKEN)
    try:
        for asking in (hub.bearer(TOKEN), hub.user("alice"), hub.stop("alice", "")):
            with suppress(HimaliaError):
                await asking
        with suppress(HimaliaError):
            async for _ in hub.users():
                pass
    finally:
        await hub.close()


async def _of_broker(url: str) -> None:
    with suppress(HimaliaError):
        await Broker(f"{url}/hub/api", TOKEN).token("alice", "team-data")


async def _of_changes(url: str) -> None:
    with suppress(NotTold):
        async for _ in follow(f"{url}/hub/api", TOKEN):
            pass


async def _of_provider(url: str) -> None:
    provider = Provider(Himalia(oidc_issuer=url))
    provider._metadata = {"issuer": url, "token_endpoint": f"{url}/token"} | {
        f"{name}_endpoint": f"{url}/{name}" for name in ("userinfo", "revocation")
    }
    provider._metadata_at = float("inf")
    for asking in (
        provider.user_info(TOKEN),
        provider.tokens({"grant_type": "refresh_token", "refresh_token": TOKEN}),
        provider.revoke(TOKEN),
    ):
        with suppress(ProviderRefused, ProviderUnavailable):
            await asking
    await provider.close()


async def _of_session(url: str) -> None:
    service = RemoteService.at_hub(f"{url}/services/himalia/", TOKEN)
    try:
        with suppress(HimaliaError):
            await service.runs.list(Caller(owner="", root=Path("/")), RunQuery())
    finally:
        await service.close()


async def _of_page(url: str) -> None:
    auth = HubAuth(api_url=f"{url}/hub/api", api_token=TOKEN)
    with suppress(Exception):
        await auth.user_for_token("canary-of-a-visitor", sync=False)


ASKING: dict[str, Callable[[str], Awaitable[None]]] = {
    "control, of the hub": _of_control,
    "control's broker, of the hub": _of_broker,
    "who hears of changes, of the hub": _of_changes,
    "the hub, of the provider": _of_provider,
    "a session, of control": _of_session,
    "the admin page, of the hub": _of_page,
}


@pytest.mark.parametrize("who", ASKING)
@pytest.mark.parametrize("status", STATUSES)
async def test_022_no_redirect_carries_a_token_elsewhere(
    places: tuple[Place, Place], who: str, status: int
) -> None:
    asked, elsewhere = places
    asked.status = status
    await ASKING[who](asked.url)
    assert any("canary" in one for one in asked.asked), "it was asked with a token"
    told: list[Any] = [one for one in elsewhere.asked if "canary" in one]
    assert not told
