"""Administration over REST: what its routes take, give and refuse."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from himalia.core.administration import Admin
from himalia.core.model import Status
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.base import Api, ApiHandler, addresses, pattern
from himalia.handlers.calls import AdminCall
from himalia.handlers.openapi import document
from himalia.handlers.routes import Route
from himalia.kinds.registry import load_kinds
from tests.servers.estate import AUDITOR, BOSS, CHAIR, Estate
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

ADMINS = {admin.name: admin for admin in (BOSS, CHAIR, AUDITOR)}
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\ufeff=1")
Ask = Callable[..., Awaitable[httpx.Response]]


class Handler(ApiHandler):
    """Takes who asks from a header; who may ask at all is tested where control decides it."""

    def initialize(self, api: Api, routes: Sequence[Route], estate: Estate) -> None:  # type: ignore[override]
        super().initialize(api)
        self.routes = {route.method: route for route in routes}
        self.estate = estate

    def call(self, route: Route, **asked: Any) -> AdminCall[Any, Any]:  # noqa: ARG002
        admin: Admin = ADMINS[self.request.headers["Admin"]]
        return AdminCall(administration=self.estate.administration, admin=admin, **asked)

    async def _answer(self, **path: str) -> None:
        await self.serve(self.routes[self.request.method or ""], path)

    get = post = put = patch = delete = _answer


@pytest.fixture
def store_address(sqlite_address: str) -> str:
    """Which database it is makes no difference here."""
    return sqlite_address


@pytest_asyncio.fixture
async def client(estate: Estate) -> AsyncIterator[httpx.AsyncClient]:
    api = Api(service=lambda: estate.service, document=lambda: b"{}")
    server = HTTPServer(
        Application(
            [
                (f"/{pattern(path)}", Handler, {"api": api, "routes": some, "estate": estate})
                for path, some in addresses(admin_table()).items()
            ],
            log_function=lambda _: None,
        )
    )
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/admin/"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as made:
        yield made
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    """Ask as an admin, by default the full one."""

    async def send(method: str, path: str, admin: Admin = BOSS, **options: Any) -> httpx.Response:
        return await client.request(method, path, headers={"Admin": admin.name}, **options)

    return send


async def test_every_answer_is_what_the_document_says(ask: Ask, estate: Estate) -> None:
    ann = await estate.person("ann", "physics")
    await estate.run(await estate.workload(ann), Status.FAILED)
    await ask("PUT", "quotas", json={"scope": "everyone", "running": 3})
    described = document(load_kinds().values(), more=admin_table())
    seen = set()
    for path, operations in described["paths"].items():
        if not path.startswith("/admin/") or "{" in path or "get" not in operations:
            continue
        content = operations["get"]["responses"]["200"]["content"]
        if "application/json" not in content:
            continue
        answer = await ask("GET", path.removeprefix("/admin/"))
        assert answer.status_code == 200, (path, answer.text)
        schema = {**content["application/json"]["schema"], "components": described["components"]}
        Draft202012Validator(schema).validate(answer.json())
        seen.add(path)
    assert len(seen) == 11, seen


async def test_a_run_is_stopped_and_deleted(ask: Ask, estate: Estate) -> None:
    run = await estate.run(await estate.workload(await estate.person("ann")))
    assert (await ask("DELETE", f"runs/{run.id}")).status_code == 409
    stopped = await ask("POST", f"runs/{run.id}/stop")
    assert (stopped.status_code, stopped.json()["status"]) == (202, "stopped")
    assert (await ask("DELETE", f"runs/{run.id}")).status_code == 204
    assert (await ask("DELETE", f"runs/{run.id}")).status_code == 404


async def test_030_outside_and_absent_are_answered_alike(ask: Ask, estate: Estate) -> None:
    bob = await estate.person("bob", "chemistry")
    run = await estate.run(await estate.workload(bob))
    absent = f"run-{run.id[4:-4]}0000"
    for method, path in (
        ("POST", "runs/{}/stop"), ("DELETE", "runs/{}"), ("DELETE", "workloads/{}"),
    ):  # fmt: skip
        there = await ask(method, path.format(run.id), CHAIR)
        nowhere = await ask(method, path.format(absent), CHAIR)
        assert there.status_code == nowhere.status_code == 404
        assert there.text.replace(run.id, absent) == nowhere.text
    for name in (bob.owner, "nobody"):
        answer = await ask("DELETE", f"people/{name}/server", CHAIR)
        assert (answer.status_code, "person" in answer.text) == (404, True)


async def test_029_readers_and_group_admins_are_refused_in_one_shape(ask: Ask) -> None:
    for admin in (CHAIR, AUDITOR):
        answer = await ask("PATCH", "notice", admin, json={"is_draining": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    answer = await ask("PUT", "quotas", AUDITOR, json={"scope": "everyone", "running": 1})
    assert answer.status_code == 403


async def test_a_patch_of_the_notice_leaves_the_rest(ask: Ask) -> None:
    await ask("PATCH", "notice", json={"banner": "Back at noon"})
    answer = (await ask("PATCH", "notice", json={"is_draining": True})).json()
    assert (answer["banner"], answer["is_draining"], answer["changed_by"]) == (
        "Back at noon", True, "boss",
    )  # fmt: skip
    assert (await ask("PATCH", "notice", json={"banner": ""})).json()["banner"] == ""


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "notice", {"changed_by": "eve"}, "changed_by"),
        ("PUT", "quotas", {"scope": "user", "subject": "ann", "owner": "x"}, "owner"),
        ("PUT", "quotas", {"scope": "galaxy"}, "scope"),
        ("PUT", "quotas", {"scope": "everyone", "running": -1}, "running"),
        ("GET", "runs?status=sleeping", None, "status"),
        ("GET", "people?sort=-groups", None, "sort"),
        ("GET", "people?limit=100000", None, "limit"),
        ("GET", "people?owners=all", None, "owners"),
        ("GET", "usage?since=yesterday", None, "since"),
        ("GET", "audit?cursor=made-up", None, "cursor"),
    ],
)
async def test_032_what_is_not_meant_to_be_said_is_refused_by_name(
    ask: Ask, method: str, path: str, body: Any, field: str
) -> None:
    answer = await ask(method, path, json=body)
    assert answer.status_code == 400, answer.text
    names = {detail["field"].split(".")[0] for detail in answer.json()["error"]["details"]}
    assert names == {field}


async def test_tables_have_no_formulas(ask: Ask, estate: Estate) -> None:
    ann = await estate.person("ann")
    for formula in FORMULAS:
        workload = await estate.workload(ann, f"{formula}".replace("\t", "") or "x")
        await ask("DELETE", f"workloads/{workload.id}")
        await ask("PATCH", "notice", json={"banner": formula})
        await ask("PUT", "quotas", json={"scope": "user", "subject": formula, "running": 1})
    answer = await ask("GET", "audit.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="himalia-audit.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    # The banner that is set again under another text is another line; so are the rest.
    assert len(rows) == 3 * len(FORMULAS)
    for row in rows:
        for text in row.values():
            assert not re.match(r"[\s\ufeff]*[=+\-@]", text), row
    assert {json.loads(row["details"])["subject"] for row in rows if "quota" in row["action"]} == {
        *FORMULAS
    }


async def test_a_long_table_comes_whole_and_follows_the_search(ask: Ask, estate: Estate) -> None:
    workload = await estate.workload(await estate.person("ann"))
    for _ in range(120):
        await ask("POST", f"runs/{(await estate.run(workload)).id}/stop")
    for banner in ("a", "b") * 50:
        await ask("PATCH", "notice", json={"banner": banner})
    rows = list(csv.DictReader(io.StringIO((await ask("GET", "audit.csv")).text, newline="")))
    assert len(rows) == 220
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    some = (await ask("GET", "audit.csv?search=RUN.stop")).text
    assert len(list(csv.DictReader(io.StringIO(some, newline="")))) == 120


async def test_changes_are_told_as_server_sent_events(
    client: httpx.AsyncClient, estate: Estate
) -> None:
    ann = await estate.person("ann")
    workload = await estate.workload(ann)
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        client.stream("GET", "events", headers={"Admin": "boss"}) as answer,
    ):
        assert answer.headers["Content-Type"] == "text/event-stream"
        said = ""
        revisions: list[int] = []
        async for text in answer.aiter_text():
            said += text
            revisions = [int(found) for found in re.findall(r'"revision":(\d+)', said)]
            if len(revisions) == 1:
                await estate.run(workload)
            if len(set(revisions)) > 1:
                break
    assert revisions == sorted(revisions)
