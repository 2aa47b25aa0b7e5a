"""Every route, by walking the tables and not by picking some: nobody gets in who may not."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from http.cookies import SimpleCookie

import pytest
from jupyter_server.auth.authorizer import AllowAllAuthorizer
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket

from himalia.control.launcher import ensure_control
from himalia.core.places import Places
from himalia.handlers.base import Api
from himalia.handlers.control import PREFIX, control_application
from himalia.handlers.peer import only_user
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from tests.servers.patience import PATIENCE_SECONDS

ROUTES = table(load_kinds().values())
UNSAFE = tuple(route for route in ROUTES if route.method != "GET")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def address(path):
    """Fill in a route's parameters with what has the right form and is not there."""
    for name, value in (
        ("workload_id", "job-00000000000000000000000000"),
        ("run_id", "run-00000000000000000000000000"),
        ("schedule_id", "sch-00000000000000000000000000"),
        ("name", "a/b.txt"),
        ("server", "-"),
    ):
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path
    return path


PATHS = sorted({address(route.path) for route in ROUTES} | {"openapi.json", "", "else/where"})


@pytest.fixture
def ask(jp_serverapp, http_server_client, jp_base_url):
    """Ask without any credentials but those given."""

    async def send(method, path, *, headers=None, query=""):
        return await http_server_client.fetch(
            f"{jp_base_url}himalia/api/{path}{query}",
            method=method,
            headers=headers or {},
            body=b"{}" if method in ("POST", "PUT", "PATCH") else None,
            follow_redirects=False,
            raise_error=False,
            request_timeout=PATIENCE_SECONDS,
        )

    return send


@pytest.fixture
def login(ask, jp_serverapp, http_server_client, jp_base_url):
    """Log in as a browser does; return the cookies."""

    async def enter():
        token = jp_serverapp.identity_provider.token
        form = await http_server_client.fetch(f"{jp_base_url}login")
        answer = await ask("GET", "openapi.json", query=f"?token={token}")
        assert answer.code == 200
        cookies = SimpleCookie()
        for line in (*form.headers.get_list("Set-Cookie"), *answer.headers.get_list("Set-Cookie")):
            cookies.load(line)
        return {name: morsel.value for name, morsel in cookies.items()}

    return enter


def cookie_header(cookies):
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def test_025_every_address_of_the_server_is_one_of_the_table(jp_serverapp, jp_base_url):
    """A handler that was added beside the table would be found here."""
    found = set()
    pending = [jp_serverapp.web_app.default_router, jp_serverapp.web_app.wildcard_router]
    while pending:
        for rule in pending.pop().rules:
            if hasattr(rule.target, "rules"):
                pending.append(rule.target)
            pattern = getattr(getattr(rule, "matcher", None), "regex", re.compile("")).pattern
            if "himalia" in pattern:
                found.add(pattern)
    assert len(found) == len({route.path for route in ROUTES}) + 2
    for path in PATHS:
        whole = f"{jp_base_url}himalia/api/{path}"
        assert any(re.fullmatch(pattern.rstrip("$"), whole) for pattern in found), path


@pytest.mark.parametrize("method", METHODS)
async def test_025_nobody_gets_in_without_credentials(ask, method):
    for path in PATHS:
        answer = await ask(method, path)
        assert answer.code in (401, 403), (method, path, answer.code)
        if method != "HEAD":
            assert set(json.loads(answer.body)) == {"error"}, (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "token wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "token"},
        {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
        {"Cookie": "username-localhost-8888=wrong; _xsrf=wrong"},
    ],
)
async def test_025_nobody_gets_in_with_wrong_credentials(ask, headers):
    for route in ROUTES:
        answer = await ask(route.method, address(route.path), headers=headers)
        assert answer.code in (401, 403), (route.name, answer.code)


async def test_010_a_wrong_token_in_the_address_lets_nobody_in(ask):
    for route in ROUTES:
        answer = await ask(route.method, address(route.path), query="?token=wrong")
        assert answer.code in (401, 403), (route.name, answer.code)


async def test_015_nothing_is_changed_without_the_xsrf_header(ask, login):
    cookies = await login()
    for route in UNSAFE:
        answer = await ask(
            route.method, address(route.path), headers={"Cookie": cookie_header(cookies)}
        )
        assert answer.code == 403, (route.name, answer.code)
        assert "xsrf" in json.loads(answer.body)["error"]["message"]


async def test_015_a_foreign_xsrf_value_does_not_do(ask, login):
    cookies = await login()
    for route in UNSAFE:
        headers = {"Cookie": cookie_header(cookies), "X-XSRFToken": "2|aaaaaaaa|bbbb|1"}
        answer = await ask(route.method, address(route.path), headers=headers)
        assert answer.code == 403, (route.name, answer.code)


async def test_015_with_it_every_route_answers(ask, login):
    """The other side: what the walk above refuses is refused for the header alone."""
    cookies = await login()
    assert "_xsrf" in cookies
    for route in UNSAFE:
        headers = {"Cookie": cookie_header(cookies), "X-XSRFToken": cookies["_xsrf"]}
        answer = await ask(route.method, address(route.path), headers=headers)
        # Conflict: what needs a hub, where there is none.
        needs_hub = route.resource in {"himalia:sessions", "himalia:tokens"}
        expected = (400, 409) if needs_hub else (400, 404)
        assert answer.code in expected, (route.name, answer.code)


async def test_018_pages_of_other_sites_read_nothing(ask, login):
    cookies = await login()
    for route in ROUTES:
        headers = {
            "Cookie": cookie_header(cookies),
            "X-XSRFToken": cookies["_xsrf"],
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "no-cors",
        }
        answer = await ask(route.method, address(route.path), headers=headers)
        assert answer.code == 403, (route.name, answer.code)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
async def test_017_other_origins_get_nothing(ask, login, origin):
    cookies = await login()
    for route in ROUTES:
        headers = {
            "Cookie": cookie_header(cookies),
            "X-XSRFToken": cookies["_xsrf"],
            "Origin": origin,
        }
        answer = await ask(route.method, address(route.path), headers=headers)
        assert answer.code in (403, 404), (route.name, answer.code)
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_authorizer_is_asked_for_each_route_by_its_own_name(jp_serverapp, ask):
    asked = []

    class Refusing(AllowAllAuthorizer):
        def is_authorized(self, _handler, _user, action, resource):
            asked.append((action, resource))
            return False

    jp_serverapp.web_app.settings["authorizer"] = Refusing()
    headers = {"Authorization": f"token {jp_serverapp.identity_provider.token}"}
    # Backwards and forwards: what one request was asked for must not stick to the next.
    for route in (*ROUTES, *ROUTES[::-1]):
        answer = await ask(route.method, address(route.path), headers=dict(headers))
        assert answer.code == 403, (route.name, answer.code)
        action = "read" if route.method == "GET" else "write"
        assert asked.pop() == (action, route.resource), route.name
        assert not asked


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("himalia")
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(self._path)


def walk(path):
    """Ask control for every route; return the statuses."""
    statuses = set()
    for route in ROUTES:
        connection = _Connection(path)
        connection.request(route.method, f"{PREFIX}/{address(route.path)}", body=b"{}")
        answer = connection.getresponse()
        assert json.loads(answer.read())["error"]["code"] == "forbidden"
        statuses.add(answer.status)
        connection.close()
    return statuses


@pytest.mark.asyncio
async def test_025_control_refuses_processes_of_another_user_at_every_route(tmp_path):
    """The system says who asks; here it says somebody that control does not serve."""

    def never():
        raise AssertionError("a service was asked for")

    api = Api(service=never, document=lambda: b"{}")
    application = control_application(ROUTES, api, identify=only_user(os.getuid() + 1))
    server = HTTPServer(application)
    server.add_socket(bind_unix_socket(str(tmp_path / "s"), mode=0o600))
    try:
        assert await asyncio.to_thread(walk, str(tmp_path / "s")) == {403}
    finally:
        server.stop()
        await server.close_all_connections()


_AS_NOBODY = """
import os, socket, sys
os.setgid(65534); os.setgroups([]); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(sys.argv[1])
    except PermissionError:
        print("may not connect")
        raise SystemExit
    lines = (b"GET /himalia/api/status HTTP/1.1", b"Host: h", b"Connection: close", b"", b"")
    connection.sendall(b"\\r\\n".join(lines))
    print(connection.recv(65536).split()[1].decode())
"""


@pytest.mark.asyncio
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_025_a_real_other_user_is_kept_out_twice(control_home):
    places = Places(home=control_home)
    path = str(await ensure_control(places))

    def ask_as_nobody():
        command = [sys.executable, "-I", "-c", _AS_NOBODY, path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert ask_as_nobody() == "may not connect"
    parts = (places.socket, *places.socket.parents)
    before = {part: part.stat().st_mode & 0o7777 for part in parts if part.stat().st_uid == 0}
    try:
        for part, mode in before.items():
            part.chmod(mode | (0o666 if part == places.socket else 0o755))
        assert ask_as_nobody() == "403"
    finally:
        for part, mode in before.items():
            part.chmod(mode)
