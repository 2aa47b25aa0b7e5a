"""Every route of a hub's control, by walking its tables: nobody gets further than their token."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from himalia.backends.local.backend import LocalBackend
from himalia.core.governing import LocalAdministration
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.places import Places
from himalia.core.team import Notice
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.base import Api
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia_hub.control.handlers import ADMIN, Gate, hub_application, hub_handlers
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.roll import Rolls
from himalia_hub.control.run_tokens import RunTokens
from himalia_hub.control.sessions import HubServers, LocalHub, Sessions
from himalia_hub.control.tokens import Tokens, TokenTimes
from himalia_hub.control.verdicts import Rules
from tests.hub.control.conftest import queued_run
from tests.hub.control.test_control_culler import Broker
from tests.servers.hub_api import EVERYTHING, HubApiServer, User
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio(loop_scope="module")

USERS = table(load_kinds().values())
ADMINS = admin_table()
ROUTES = (*USERS, *ADMINS)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NOTHING = {
    "workload_id": "wkl-00000000000000000000000000",
    "run_id": "run-00000000000000000000000000",
    "schedule_id": "sch-00000000000000000000000000",
    "owner": "nobody",
    "orphan": "nothing",
    "name": "a/b.txt",
    "server": "-",
}
BASE = "/services/himalia/"


def address(path: str, **values: str) -> str:
    """Fill in a route's parameters, by default with what has the right form and is not there."""
    return re.sub(r"{(\w+)}", lambda found: {**NOTHING, **values}[found[1]], path)


PATHS = sorted({address(route.path) for route in ROUTES} | {"openapi.json", "", "else/where"})


@dataclass(kw_only=True)
class Site:
    """Control's handlers at an address, over a real service, before a hub that can be bent."""

    hub: HubApiServer
    store: SqlStore
    client: httpx.AsyncClient
    alice: User
    tokens: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, who: str | None = None, **more: Any) -> Any:
        headers = {"Authorization": f"token {self.tokens[who]}"} if who else {}
        return await self.client.request(
            method, f"{BASE}api/{path}", headers={**headers, **more.pop("headers", {})}, **more
        )


@asynccontextmanager
async def served(hub: HubApi, home: Path) -> AsyncIterator[tuple[SqlStore, str]]:
    """Serve control's handlers over a real service."""
    places, kinds = Places(home=home), load_kinds()
    store = SqlStore(home / "store.db", kinds.decode_spec)
    service = LocalService(
        store=store,
        backend=LocalBackend(places, pool_size=0),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
    )
    sessions = Sessions(hub=hub, rolls=Rolls(hub), team=store.team, rules=Rules(idle_seconds=0))
    service.hub = LocalHub(team=store.team, sessions=sessions, broker=Broker())
    administration = LocalAdministration(
        parts=service.parts, team=store.team, servers=HubServers(hub=hub, sessions=sessions)
    )
    tokens = Tokens(
        hub,
        team=lambda: store.team,
        met=lambda person: store.team.people.seen((person,)),
        times=TokenTimes(told=0.3, untold=0.3),
    )
    api = Api(service=lambda: service, document=lambda: b"{}")
    gate = Gate(tokens=tokens, administration=lambda: administration)
    server = HTTPServer(hub_application(hub_handlers(ROUTES, api, gate, base=BASE), api, gate))
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    await service.open()
    yield store, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.stop()
    await server.close_all_connections()
    await service.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site with people of every kind."""
    hub = HubApiServer().start()
    asking = HubApi(hub.url, hub.service_token)
    async with (
        served(asking, tmp_path_factory.mktemp("control")) as (store, url),
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        # What waits goes on waiting.
        await store.team.notices.put(Notice(is_draining=True, changed_at=datetime.now(UTC)))
        alice = hub.add("alice", groups=["physics"])
        made = Site(hub=hub, store=store, client=client, alice=alice)
        for name, groups in (("bob", ()), ("gerda", ("physics",)), ("audrey", ()), ("root", ())):
            hub.add(name, groups=groups)
        own = {name: [f"{scope}!user={name}" for scope in EVERYTHING] for name in hub.users}
        made.tokens = {
            "alice": hub.token("alice"),
            "bob": hub.token("bob"),
            "gerda": hub.token("gerda", *own["gerda"], "custom:himalia:admin!group=physics"),
            "audrey": hub.token("audrey", *own["audrey"], "custom:himalia:admin:read"),
            "root": hub.token("root", *own["root"], "admin-ui"),
            "bare": hub.token("alice", "read:users!user=alice"),
            "service": hub.service_token,
        }
        yield made
    await asking.close()
    await hub.close()


def is_shaped(answer: httpx.Response) -> bool:
    """Tell whether an error has the one shape."""
    error = answer.json()["error"]
    return set(error) == {"code", "message", "details"} and bool(error["message"])


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_token_nobody_gets_anywhere(site, path):
    for method in METHODS:
        answer = await site.ask(method, path)
        assert answer.status_code == 401, (method, path)
        if method != "HEAD":
            assert is_shaped(answer)


@pytest.mark.parametrize("path", PATHS)
async def test_010_no_token_counts_in_an_address_a_cookie_or_another_header(site, path):
    token = site.tokens["root"]
    for more in (
        {"params": {"token": token}},
        {"params": {"access_token": token}},
        {"headers": {"Cookie": f"token={token}; service-himalia={token}; jupyterhub={token}"}},
        {"headers": {"X-Authorization": f"token {token}"}},
        {"headers": {"Authorization": f"Basic {token}"}},
        {"headers": {"Authorization": token}},
    ):
        answer = await site.ask("GET", path, **more)
        assert answer.status_code == 401, (path, more)


@pytest.mark.parametrize("route", USERS, ids=lambda route: route.name)
async def test_a_token_without_the_scope_is_told_which_one_it_lacks(site, route):
    answer = await site.ask(route.method, address(route.path), "bare")
    assert answer.status_code == 403
    assert f"custom:{route.resource}" in answer.json()["error"]["message"]


@pytest.mark.parametrize("route", USERS, ids=lambda route: route.name)
async def test_a_scope_opens_its_own_resource_alone(site, route):
    others = [scope for scope in EVERYTHING if scope != f"custom:{route.resource}"]
    site.tokens["others"] = site.hub.token("alice", *others, "custom:himalia:admin:read")
    answer = await site.ask(route.method, address(route.path), "others")
    assert answer.status_code == 403
    site.tokens["read"] = site.hub.token("alice", f"custom:{route.resource}:read!user=alice")
    answer = await site.ask(route.method, address(route.path), "read", json={})
    assert (answer.status_code == 403) is (route.method != "GET"), answer.text
    site.tokens["write"] = site.hub.token("alice", f"custom:{route.resource}!user=alice")
    if route.sends != "events":
        answer = await site.ask(route.method, address(route.path), "write", json={})
        assert answer.status_code not in {401, 403, 500}, answer.text


@pytest.mark.parametrize("route", ADMINS, ids=lambda route: route.name)
async def test_administration_is_for_admins(site, route):
    for who in ("alice", "bob", "bare", "service"):
        answer = await site.ask(route.method, address(route.path), who, json={})
        assert answer.status_code == 403, (who, answer.text)
        assert is_shaped(answer)


@pytest.mark.parametrize("route", ADMINS, ids=lambda route: route.name)
async def test_auditors_look_and_admins_act(site, route):
    if route.sends == "events":
        for who in ("root", "audrey", "gerda"):
            headers = {"Authorization": f"token {site.tokens[who]}"}
            path = f"{BASE}api/{route.path}"
            async with site.client.stream(route.method, path, headers=headers) as answer:
                assert answer.status_code == 200
        return
    answer = await site.ask(route.method, address(route.path), "audrey", json={})
    assert (answer.status_code == 403) is (route.method != "GET"), answer.text
    answer = await site.ask(route.method, address(route.path), "root", json={})
    assert answer.status_code not in {401, 403, 500}, answer.text
    answer = await site.ask(route.method, address(route.path), "gerda", json={})
    assert answer.status_code not in {401, 500}, answer.text
    if route.method == "GET":
        # Whether the users of all groups are apart is nothing that one group's admin looks into.
        assert (answer.status_code == 403) is (route.name == "getIsolation")


async def test_a_job_that_would_start_another_is_told_where_to_do_that(site):
    await site.ask("GET", "status", "alice")
    run = await queued_run(site.store, site.alice.owner)
    given = await RunTokens(site.store.team.grants, "http://control/").env(run)
    site.tokens["run"] = given["HIMALIA_TOKEN"]
    assert (await site.ask("GET", "jobs", "run")).status_code == 200
    draft = {"spec": {"notebook": "sums.ipynb"}}
    refused = await site.ask("POST", "jobs", "run", json=draft)
    assert refused.status_code == 403
    assert "Do that in a session" in refused.json()["error"]["message"]


async def test_026_nobody_gets_at_what_is_anothers(site):
    await site.ask("GET", "status", "alice")
    run = await queued_run(site.store, site.alice.owner)
    ids = {"run_id": run.id, "workload_id": run.workload_id}
    walked = 0
    for route in USERS:
        if not any(f"{{{name}}}" in route.path for name in ids):
            continue
        for who in ("bob", "gerda", "audrey", "root"):
            body = {} if route.body is not None else None
            answer = await site.ask(route.method, address(route.path, **ids), who, json=body)
            assert answer.status_code in {404, 400}, (who, route.name, answer.text)
            assert run.workload_name not in answer.text
        walked += 1
    assert walked > 10
    answer = await site.ask("GET", f"runs/{run.id}", "alice")
    assert answer.json()["owner"] == site.alice.owner


async def test_a_group_admin_sees_members_and_nobody_else(site):
    for who in ("alice", "bob"):
        await site.ask("GET", "status", who)
    answer = await site.ask("GET", "admin/people", "gerda", params={"limit": 200})
    names = {row["person"]["name"] for row in answer.json()["items"]}
    assert "alice" in names
    assert "bob" not in names
    answer = await site.ask("GET", "admin/people", "root", params={"limit": 200})
    assert {"alice", "bob"} <= {row["person"]["name"] for row in answer.json()["items"]}


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_and_addresses_are_refused_in_the_one_shape(site, path):
    taken = {route.method for route in ROUTES if address(route.path) == path}
    taken |= {"GET"} if path == "openapi.json" else set()
    for method in METHODS:
        if method in taken:
            continue
        answer = await site.ask(method, path, "root")
        assert answer.status_code == (405 if taken else 404), method
        assert method == "HEAD" or is_shaped(answer)


async def test_what_lies_outside_of_the_api_is_nobodys(site):
    for path in ("/", "/services/", "/services/himalia/x", "/himalia/api/status", "/hub/api/user"):
        answer = await site.client.get(path)
        assert answer.status_code == 401
        answer = await site.client.get(
            path, headers={"Authorization": f"token {site.tokens['alice']}"}
        )
        assert answer.status_code == 404
        assert is_shaped(answer)


async def test_086_a_request_that_is_too_large_is_refused(site):
    body = json.dumps({"name": "x" * 2**23}).encode()
    answer = await site.ask("POST", "jobs", "alice", content=body)
    assert answer.status_code == 413
    assert is_shaped(answer)


@pytest.mark.parametrize("root", ["relative", "/a/../b", "/a%00b", "%ff"])
async def test_a_root_that_is_no_folder_is_refused(site, root):
    answer = await site.ask("POST", "jobs", "alice", json={}, headers={"Himalia-Root": root})
    assert answer.status_code == 400
    assert "Himalia-Root" in answer.text


async def test_008_a_stream_ends_soon_after_its_token(site):
    run = await queued_run(site.store, site.alice.owner)
    site.tokens["short"] = site.hub.token("alice")
    headers = {"Authorization": f"token {site.tokens['short']}"}
    path = f"{BASE}api/runs/{run.id}/events"
    async with site.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        parts = answer.aiter_raw()
        assert b"event: run" in await anext(parts)
        del site.hub.tokens[site.tokens["short"]]
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b"event: end" not in b"".join([part async for part in parts])
        assert time.monotonic() - begun < allowed(5, begun)
    assert (await site.client.get(path, headers=headers)).status_code == 401


async def test_a_stream_outlives_a_hub_that_is_started_again(site):
    run = await queued_run(site.store, site.alice.owner)
    headers = {"Authorization": f"token {site.tokens['alice']}"}
    path = f"{BASE}api/runs/{run.id}/events"
    async with site.client.stream("GET", path, headers=headers) as answer:
        parts = answer.aiter_raw()
        await anext(parts)
        site.hub.is_broken = True
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(parts)
        finally:
            site.hub.is_broken = False


async def test_all_resources_of_the_tables_have_scopes():
    assert {f"custom:{route.resource}" for route in USERS} == set(EVERYTHING)
    assert {route.resource for route in ADMINS} == {ADMIN}
