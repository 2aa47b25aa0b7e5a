"""Cookies, origins and headers of a real hub, as a hostile page or neighbour would try them."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.security.at_hub.places import LEAVING, PLACES
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import AS_PAGE, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_019_cookies_are_hidden_from_pages_and_from_other_sites(hub):
    async with Visitor(hub.url, "carla") as carla:
        said = [await carla.http.get("/hub/login")]
        form = {
            "username": "carla",
            "password": hub.password,
            "_xsrf": carla.xsrf("/hub/login") or "",
        }
        said.append(await carla.http.post("/hub/login", data=form))
        said.append(await carla.http.get("/hub/api/oauth2/authorize"))
    seen = {}
    for answer in said:
        for line in answer.headers.get_list("Set-Cookie"):
            seen.update(SimpleCookie(line))
    assert {"_xsrf", "jupyterhub-hub-login", "jupyterhub-session-id"} <= set(seen)
    for name, morsel in seen.items():
        assert morsel["samesite"].lower() in {"lax", "strict"}, name
        assert not morsel["domain"], name  # a cookie of this host alone
        # Pages must read the one value that they have to repeat, and no other.
        assert morsel["httponly"] or name == "_xsrf", name
    assert seen["jupyterhub-hub-login"]["path"] == "/hub/"


async def test_019_the_cookies_of_a_session_go_to_that_session_alone(alice):
    paths = {cookie.name: cookie.path for cookie in alice.http.cookies.jar}
    assert paths["jupyterhub-user-alice"] == "/user/alice/"
    values = [c.value for c in alice.http.cookies.jar if c.name == "_xsrf"]
    assert len(values) == len(set(values)) >= 2  # one for the hub, another for the session


@pytest.mark.parametrize("size", [8_000, 20_000, 70_000, 200_000])
async def test_019_a_cookie_bomb_is_refused_and_breaks_nothing(hub, alice, size):
    """A neighbour may set many large cookies for the whole domain."""
    crumbs = "; ".join(f"c{number}={'x' * 1000}" for number in range(size // 1000))
    for _, prefix in PLACES.values():
        text = f"GET {prefix}/api/ HTTP/1.1\r\nHost: localhost\r\nCookie: {crumbs}\r\n\r\n"
        status = await raw(hub.port, text)
        assert status is None or status < 500, (prefix, size)
        assert size < 16_000 or status in {None, 400, 431}, (prefix, size)
    assert (await alice.ask("GET", "/hub/api/user")).status_code == 200


@pytest.mark.parametrize("size", [20_000, 70_000, 200_000])
async def test_019_a_cookie_bomb_past_the_proxy_is_refused_too(hub, size):
    """Whoever is on this machine reaches hub and control without the proxy."""
    crumbs = f"Cookie: a={'x' * size}\r\n"
    for part in ("hub", "control"):
        ports = [
            connection.laddr.port
            for connection in hub.process(part).net_connections()
            if connection.status == "LISTEN"
        ]
        assert ports, part
        for port in ports:
            status = await raw(port, f"GET /hub/api HTTP/1.1\r\nHost: localhost\r\n{crumbs}\r\n")
            # Tornado ends such a connection without a word.
            assert status is None or status < 500, (part, size, status)


async def raw(port, text):
    """Send something as it is; return the status of the answer, if there is one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text.encode())
        line = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
        return int(line.split()[1]) if line else None
    except ConnectionError:
        return None
    finally:
        writer.close()


def foreign_origins(url):
    """Make origins that look like the hub's, and are not."""
    where = urlsplit(url)
    host, port = where.hostname, where.port
    return [
        "null",
        "",
        "https://evil.example",
        f"http://{host}.evil.example",
        f"http://{host}:{port}.evil.example",
        f"http://evil.example:{port}",
        f"http://evil{host}:{port}",
        f"http://{host}:{port + 1}",
        f"http://{host}",
        f"http://{host}:{port}@evil.example",
        f"http://evil.example#{host}:{port}",
        f"http://evil.example/{host}:{port}",
        f"http://x{host.replace('.', 'x')}:{port}",
    ]


async def test_017_no_page_of_another_origin_may_read_an_answer(hub, alice, walk):
    origins = foreign_origins(hub.url)
    for place in PLACES:
        for number, (path, row) in enumerate(walk.addresses(place).items()):
            if row.handler == "RootAPIHandler":
                continue  # says its version to everybody, and takes no cookies for it
            headers = {"Origin": origins[number % len(origins)]}
            answer = await alice.ask("OPTIONS", path, headers=headers)
            for name in ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"):
                assert name not in answer.headers, (path, headers, answer.headers)


async def test_017_no_page_of_another_origin_opens_a_socket(hub, alice, walk):
    """Browsers send cookies along with the handshake, and ask nobody."""
    kernel = (await alice.ask("POST", "/user/alice/api/kernels", json={})).json()
    terminal = (await alice.ask("POST", "/user/alice/api/terminals", json={})).json()
    values = {"kernel_id": kernel["id"], "1": terminal["name"]}
    sockets = [p for p, row in walk.addresses("session", values).items() if row.is_socket]
    assert len(sockets) >= 3, sockets
    for path in sockets:
        for origin in foreign_origins(hub.url):
            assert await handshake(alice, path, origin) == 403, (path, origin)
    # The other side: it is the origin alone that they were refused for.
    assert await handshake(alice, "/user/alice/api/events/subscribe", hub.url) == 101


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    scheme=st.sampled_from(["http", "https", "HTTP", "ws", "file", "javascript", ""]),
    before=st.text("abc.-_@:/\\%", max_size=6),
    after=st.text("abc.-_@:/\\%0123456789", max_size=6),
)
async def test_017_made_up_origins_open_no_socket(hub, alice, scheme, before, after):
    where = urlsplit(hub.url).netloc
    origin = f"{scheme}://{before}{where}{after}"
    # The address is what counts: one port speaks one protocol.
    assume(urlsplit(origin).netloc != where)
    assert await handshake(alice, "/user/alice/api/events/subscribe", origin) != 101, origin


async def handshake(visitor, path, origin):
    """Begin a WebSocket as a browser would; return the status."""
    where = urlsplit(visitor.url)
    cookies = "; ".join(
        f"{cookie.name}={cookie.value}"
        for cookie in visitor.http.cookies.jar
        if path.startswith(cookie.path)
    )
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {where.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-Fetch-Mode: websocket",
        f"Origin: {origin}",
        f"Cookie: {cookies}",
        "\r\n",
    ]
    return await raw(where.port, "\r\n".join(lines))


AWAY = {*LEAVING, "SpawnHandler"}


async def test_024_no_page_lets_itself_be_framed(alice, admin, walk):
    """Clicks meant for a page that lies above must not reach ours."""
    pages = 0
    for visitor in (alice, admin):
        for place in PLACES:
            for path, row in walk.addresses(place).items():
                if row.is_socket or "GET" not in row.methods or row.handler in AWAY:
                    continue
                # Streams end only when they are left: the headers are enough.
                async with visitor.http.stream("GET", path, headers=AS_PAGE) as answer:
                    status, headers = answer.status_code, answer.headers
                if status != 200 or "text/html" not in headers.get("Content-Type", ""):
                    continue
                policy = headers.get("Content-Security-Policy", "")
                refused = ("frame-ancestors 'none'", "frame-ancestors 'self'")
                assert any(text in policy for text in refused), (path, policy)
                pages += 1
    assert pages > 10
