"""The admin page's part of control: loaded when somebody comes, and not before."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.routing import Rule
from tornado.web import Application, RequestHandler

from himalia_hub.control.opening import OfVisitors, Opening
from tests.servers.patience import PATIENCE_SECONDS

BASE = "/services/himalia/"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}
COOKIE = {"Cookie": "a=b"}


class Echo(RequestHandler):
    """Says who answered, and what it was sent."""

    def initialize(self, part: str) -> None:
        self.part = part

    async def get(self) -> None:
        self.write({"part": self.part, "sent": self.request.body.decode()})

    post = get


class Part:
    """What opens the part that is loaded late."""

    def __init__(self) -> None:
        self.may_open = asyncio.Event()
        self.openings = 0
        self.breaks = False

    async def opened(self) -> Application:
        self.openings += 1
        await self.may_open.wait()
        if self.breaks:
            raise RuntimeError("it cannot be loaded")
        return Application([(".*", Echo, {"part": "late"})])


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[Part, httpx.AsyncClient]]:
    part = Part()
    rules: list[Any] = [Rule(OfVisitors(BASE), Opening(part.opened))]
    server = HTTPServer(Application([*rules, (".*", Echo, {"part": "early"})]))
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        yield part, client
    server.stop()
    await server.close_all_connections()


@pytest.mark.asyncio
async def test_whoever_comes_first_waits_and_the_others_do_not(served) -> None:
    part, client = served
    first = [
        asyncio.create_task(client.get(BASE, headers=BROWSER)),
        asyncio.create_task(
            client.post(f"{BASE}api/admin/notice", headers=COOKIE, content="a" * 200_000)
        ),
    ]
    other = await client.get(f"{BASE}api/jobs", headers=COOKIE)
    assert other.json()["part"] == "early"
    assert not any(one.done() for one in first)
    part.may_open.set()
    page, posted = await asyncio.gather(*first)
    assert page.json()["part"] == "late"
    assert posted.json() == {"part": "late", "sent": "a" * 200_000}
    again = await client.get(f"{BASE}oauth_callback", headers=COOKIE)
    assert again.json()["part"] == "late"
    assert part.openings == 1


@pytest.mark.parametrize(
    ("path", "headers", "part"),
    [
        ("", {"Accept": "*/*"}, "early"),
        ("", COOKIE, "late"),
        ("static/0a/admin.js", {}, "late"),
        ("hub/css/style.css", {}, "late"),
        ("health/ready", COOKIE, "early"),
        ("metrics", BROWSER, "early"),
        ("api/jobs", COOKIE, "early"),
        ("api/admin/people", COOKIE, "late"),
        ("api/admin/people", COOKIE | {"Authorization": "token a"}, "early"),
        ("api/admin/people", {"Authorization": "token a"}, "early"),
        ("api/administration", COOKIE, "early"),
    ],
)
@pytest.mark.asyncio
async def test_only_visitors_of_the_page_have_it_loaded(served, path, headers, part) -> None:
    late, client = served
    late.may_open.set()
    answer = await client.get(f"{BASE}{path}", headers=headers)
    assert answer.json()["part"] == part
    assert late.openings == int(part == "late")


@pytest.mark.asyncio
async def test_a_part_that_cannot_be_loaded_is_tried_again(served) -> None:
    part, client = served
    part.may_open.set()
    part.breaks = True
    assert (await client.get(BASE, headers=BROWSER)).status_code == 500
    part.breaks = False
    assert (await client.get(BASE, headers=BROWSER)).json()["part"] == "late"


def test_control_begins_without_what_it_may_never_need() -> None:
    """Each of these is 5 MB to 25 MB, beside each hub."""
    heavy = ("jupyterhub", "aiohttp", "alembic", "httpx", "kubernetes", "nbformat", "IPython")
    code = (
        "import json, sys; import himalia_hub.control.serve; "
        "from himalia.kinds.registry import load_kinds; load_kinds(); "
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_hub_loads_none_of_control() -> None:
    """A hub that has Himalia is a hub; models and their checks are control's."""
    code = (
        "import json, sys; from traitlets.config import Config; import himalia_hub; "
        "himalia_hub.configure(Config()); import himalia_hub.spawner; "
        "heavy = ('himalia.core.team', 'himalia.handlers', 'himalia.kinds'); "
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout) == []
