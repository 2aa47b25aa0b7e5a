"""TLS between the parts of a hub: who has no certificate of its authority is let in nowhere."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from traitlets.config import Config

from himalia.core.errors import Unavailable
from himalia_hub.kubernetes.asking import Namespaces
from himalia_hub.kubernetes.inner_tls import InnerTls, client_of, inner_tls
from himalia_hub.kubernetes.settings import Kubernetes
from tests.servers.authority import Authority

pytestmark = pytest.mark.asyncio


class Answer(web.RequestHandler):
    """What the keeper of namespaces would say."""

    def get(self) -> None:
        self.finish({"owners": ["alice"]})


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest_asyncio.fixture
async def url(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    tls = InnerTls(authority.give(tmp_path / "server", "namespaces", "127.0.0.1"))
    server = HTTPServer(web.Application([("/namespaces", Answer)]), ssl_options=tls.server())
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    yield f"https://127.0.0.1:{sockets[0].getsockname()[1]}"
    server.stop()
    await server.close_all_connections()


async def owners(url: str, context: ssl.SSLContext) -> list[str]:
    asked = Namespaces(url, "token", context)
    try:
        return await asked.owners()
    finally:
        await asked.close()


async def test_parts_with_certificates_of_one_authority_speak_to_each_other(
    url: str, authority: Authority, tmp_path: Path
) -> None:
    hub = InnerTls(authority.give(tmp_path / "hub", "hub"))
    # As a configuration hands it on.
    assert await owners(url, deepcopy({"ssl": hub.client()})["ssl"]) == ["alice"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_who_has_no_certificate_of_it_is_refused(
    url: str, authority: Authority, tmp_path: Path
) -> None:
    bare = ssl.create_default_context(cadata=authority.certificate.decode())
    foreign = InnerTls(Authority().give(tmp_path / "foreign", "hub"))
    knows = foreign.client()
    knows.load_verify_locations(cadata=authority.certificate.decode())
    old = InnerTls(authority.give(tmp_path / "old", "hub")).client()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    for context in (bare, knows, old):
        with pytest.raises(Unavailable):
            await owners(url, context)
    plain = url.replace("https", "http")
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(f"{plain}/namespaces")


async def test_a_server_that_is_not_the_one_asked_for_is_told_nothing(
    url: str, authority: Authority, tmp_path: Path
) -> None:
    stranger = InnerTls(Authority().give(tmp_path / "stranger", "hub"))
    with pytest.raises(Unavailable):
        await owners(url, stranger.client())
    hub = InnerTls(authority.give(tmp_path / "hub", "hub"))
    # The server's certificate is for other names.
    with pytest.raises(Unavailable):
        await owners(url.replace("127.0.0.1", "localhost"), hub.client())


async def test_a_part_without_its_certificate_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be used"):
        InnerTls(tmp_path).server()


async def test_with_certificates_parts_find_each_other_at_ports_of_their_own() -> None:
    plain = Kubernetes(release_namespace="team")
    assert (inner_tls(plain), client_of(plain)) == (None, None)
    assert plain.namespaces_url == "http://namespaces:8400"
    assert plain.control_parts_url == plain.control_url == "http://control.team:8300"
    inner = Kubernetes(config=Config(Kubernetes={"tls_folder": "/tls", "release_namespace": "t"}))
    assert inner.namespaces_url == "https://namespaces.t:8400"
    assert inner.control_parts_url == "https://control.t:8443"
    assert inner.hub_parts_url == "https://hub.t:8444"
    # Users' pods have no certificate.
    assert inner.control_url == "http://control.t:8300"
