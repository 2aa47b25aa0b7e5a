"""Tenants of a real hub, who try to see, use and take what is others'."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from himalia.handlers.admin_routes import admin_table
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from tests.servers import notebooks
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONTROL = "/services/himalia/api/"
ROUTES = table(load_kinds().values())
SECRET = "canary-of-alice"
FOREIGN = {
    "owner": "bob",
    "id": "job-1",
    "namespace": "kube-system",
    "is_admin": True,
    "admin": True,
    "status": "succeeded",
    "lease_token": 1,
    "token": "x",
    "uid": 0,
    "groups": ["staff"],
    "root": "/",
}
"""Fields of things as they are stored, and of others' that rivals took from requests."""


class Api:
    """Control's REST interface, asked through the hub's proxy with somebody's token."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{url}{CONTROL}",
            headers={"Authorization": f"token {token}"},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_connections=200),
        )

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request; of a stream take the beginning alone."""
        async with self.http.stream(method, path, **options) as answer:
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                return httpx.Response(answer.status_code, headers=answer.headers)
            await answer.aread()
            return answer


async def _api(hub, name):
    await hub.api("POST", f"users/{name}")
    made = await hub.api("POST", f"users/{name}/tokens", json={"note": "tenants"})
    return Api(hub.url, made.json()["token"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apis(hub, alice, bob, gerda, admin):
    """Everybody's access by token, by name."""
    made = {one.name: await _api(hub, one.name) for one in (alice, bob, gerda, admin)}
    yield made
    for one in made.values():
        await one.http.aclose()


async def _write(alice, name, source):
    body = {"type": "notebook", "format": "json", "content": json.loads(notebooks.notebook(source))}
    answer = await alice.ask("PUT", f"/user/alice/api/contents/{name}", json=body)
    assert answer.status_code in {200, 201}, answer.text


async def _until(check, what):
    end = time.monotonic() + PATIENCE_SECONDS
    while not await check():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alices(alice, apis):
    """Ids of what Alice has: a job that ran and wrote, and a schedule; their names are secret."""
    await _write(alice, f"{SECRET}.ipynb", f"print({SECRET!r}); open('{SECRET}.txt', 'w').close()")
    spec = {"notebook": f"{SECRET}.ipynb", "outputs": ["*"], "tags": [SECRET]}
    body = {"spec": spec, "run": True, "name": SECRET}
    made = await alice.ask("POST", "/user/alice/himalia/api/jobs", json=body)
    assert made.status_code == 201, made.text
    workload_id, run_id = made.json()["id"], made.json()["last_run"]["id"]
    schedule = await apis["alice"].ask(
        "POST", "schedules", json={"workload_id": workload_id, "cron": "0 0 1 1 *"}
    )
    assert schedule.status_code == 201, schedule.text

    async def ended():
        return (await apis["alice"].ask("GET", f"runs/{run_id}")).json()["ended_at"]

    await _until(ended, "the run ended")
    return {"workload_id": workload_id, "run_id": run_id, "schedule_id": schedule.json()["id"]}


async def _owners(apis):
    """Return everybody's ids by their names at the hub."""
    people = (await apis["admin"].ask("GET", "admin/people")).json()["items"]
    return {one["person"]["name"]: one["person"]["owner"] for one in people}


def lists():
    """Return every address of control's that is about no single thing."""
    return [route.path for route in ROUTES if route.method == "GET" and "{" not in route.path]


async def test_027_lists_searches_counts_and_metrics_leak_nothing(hub, apis, alices):
    canaries = [SECRET, *alices.values(), (await _owners(apis))["alice"], "alice"]
    queries = ("", f"?search={SECRET}", f"?tag={SECRET}", f"?workload_id={alices['workload_id']}")
    assert len(lists()) > 8
    for path in lists():
        for query in queries:
            answer = await apis["bob"].ask("GET", path + query)
            assert answer.status_code in {200, 400}, (path, query, answer.text)
            leaked = [one for one in canaries if one in answer.text and one not in query]
            assert not leaked, (path, query)
            if answer.status_code == 200 and path in {"jobs", "runs", "schedules"}:
                assert answer.json() == {"items": [], "next_cursor": None}, path
            if answer.status_code == 200 and path.startswith("usage"):
                assert "job" not in answer.text, path
    for path in ("hub/metrics", "services/himalia/metrics"):
        async with httpx.AsyncClient(trust_env=False, base_url=hub.url) as client:
            head = {"Authorization": apis["bob"].http.headers["Authorization"]}
            assert (await client.get(f"/{path}", headers=head)).status_code == 403
            watcher = await hub.api("GET", f"../../{path}")
            assert watcher.status_code == 200
            # Names of users are for nobody who watches how much there is of everything.
            assert not [one for one in canaries[:-1] if one in watcher.text], path
    # The other side: it is there to be found.
    mine = await apis["alice"].ask("GET", f"runs?search={SECRET}")
    assert [one["id"] for one in mine.json()["items"]] == [alices["run_id"]]


async def test_027_others_totals_cannot_be_told_from_ones_own(alice, apis, alices):
    """What Bob is told does not change by what Alice does."""

    async def told():
        said = {}
        for path in ("status", "usage/totals", "quotas", "runs", "jobs", "environments"):
            said[path] = (await apis["bob"].ask("GET", path)).json()
        # The machine's, which everybody shares, and the time of the control that answers.
        for name in ("memory_bytes", "disk_free_bytes", "warnings"):
            del said["status"][name]
        return said

    before = await told()
    again = await apis["alice"].ask("POST", f"jobs/{alices['workload_id']}/runs", json={})
    assert again.status_code == 201, again.text
    assert await told() == before
    run = again.json()["id"]

    async def ended():
        return (await apis["alice"].ask("GET", f"runs/{run}")).json()["ended_at"]

    await _until(ended, "the run ended")
    assert (await apis["alice"].ask("DELETE", f"runs/{run}")).status_code == 204


async def test_028_bob_uses_nothing_of_alices(hub, apis, alices):
    """Neither her job nor her files, by whatever field and whatever root he names."""
    home = hub.account("alice").pw_dir
    secret, absent = f"{home}/{SECRET}.ipynb", f"{home}/absent.ipynb"
    refused = []
    for root in (home, "/", f"{home}/.."):
        for path, twin in ((secret, absent), (f"../{secret}", f"../{absent}")):
            told = []
            for notebook in (path, twin):
                relative = notebook.removeprefix(f"{home}/") if root == home else notebook
                answer = await apis["bob"].ask(
                    "POST",
                    "jobs",
                    json={"spec": {"notebook": relative}, "run": True},
                    headers={"Himalia-Root": quote(root)},
                )
                assert answer.status_code in {400, 403, 404}, (root, relative, answer.text)
                text = answer.text.replace(SECRET, "NAME").replace("absent", "NAME")
                told.append((answer.status_code, text))
            assert told[0] == told[1], "he learns whether it is there"
            refused.append(told[0])
    assert len(refused) == 6
    # In the other fields that take a path: his own notebook, her files.
    for field, value in (
        ("files", [secret]),
        ("working_folder", home),
        ("whole_folder", True),
        ("environment", f"{home}/.venv"),
    ):
        spec = {"notebook": f"{SECRET}.ipynb", field: value}
        answer = await apis["bob"].ask("POST", "jobs", json={"spec": spec, "run": True})
        assert answer.status_code in {400, 403, 404}, (field, answer.text)
    spec = {"notebook": "b.ipynb", "after": [{"workload_id": alices["workload_id"]}]}
    answer = await apis["bob"].ask("POST", "jobs", json={"spec": spec})
    assert answer.status_code in {400, 404}, answer.text
    for workload_id in (alices["workload_id"], f"job-{'0' * 26}"):
        body = {"workload_id": workload_id, "cron": "0 0 1 1 *"}
        assert (await apis["bob"].ask("POST", "schedules", json=body)).status_code in {400, 404}
        started = await apis["bob"].ask("POST", f"jobs/{workload_id}/runs", json={})
        assert started.status_code == 404
    rerun = await apis["bob"].ask("POST", f"runs/{alices['run_id']}/rerun", json={})
    assert rerun.status_code == 404
    for kind in ("jobs", "runs", "schedules"):
        assert (await apis["bob"].ask("GET", kind)).json()["items"] == []


async def test_031_what_the_pages_do_not_offer_the_interface_refuses(hub, apis, alices):
    """Every route of administration, asked by who gets no such page; and what drains."""
    owner = (await _owners(apis))["alice"]
    values = {**alices, "owner": owner, "server": "x", "orphan": "x"}
    log = (await apis["admin"].ask("GET", "admin/audit")).json()["items"]
    for route in admin_table():
        path = route.path.format(**values)
        for somebody in ("alice", "bob"):
            answer = await apis[somebody].ask(route.method, path, json={})
            assert answer.status_code == 403, (somebody, route.name, answer.text)
    # A group's admin sees Alice, and decides nothing for everybody.
    for path, method, body in (
        ("admin/notice", "PATCH", {"is_draining": True}),
        ("admin/notice", "PATCH", {"banner": "mine"}),
        ("admin/quotas", "PUT", {"scope": "everyone", "running": 100}),
        ("admin/quotas", "PUT", {"scope": "group", "subject": "physics", "running": 100}),
        ("admin/quotas", "PUT", {"scope": "user", "subject": "gerda", "running": 100}),
    ):
        answer = await apis["gerda"].ask(method, path, json=body)
        assert answer.status_code == 403, (body, answer.text)
    assert (await apis["admin"].ask("GET", "admin/audit")).json()["items"] == log
    # Nor does a server's own token reach beyond what its page needs.
    (server,) = [one for one in hub.servers() if one.environ()["JUPYTERHUB_USER"] == "alice"]
    token = server.environ()["JUPYTERHUB_API_TOKEN"]
    for method, path in (
        ("POST", "users/alice/tokens"),
        ("GET", "users"),
        ("GET", "users/bob"),
        ("PATCH", "users/alice"),
        ("DELETE", "users/alice/server"),
        ("POST", "users/bob/server"),
        ("GET", "himalia/directory"),
    ):
        answer = await hub.api(method, path, token=token, json={})
        assert answer.status_code in {403, 404}, (method, path, answer.text)


async def test_031_while_draining_nothing_starts_whoever_asks(apis, alices):
    drain = {"is_draining": True}
    assert (await apis["admin"].ask("PATCH", "admin/notice", json=drain)).status_code == 200
    try:
        made = await apis["alice"].ask("POST", f"jobs/{alices['workload_id']}/runs", json={})
        assert made.status_code == 201, made.text
        run = made.json()["id"]
        for _ in range(15):
            found = (await apis["alice"].ask("GET", f"runs/{run}")).json()
            assert found["status"] == "queued", found
            await asyncio.sleep(0.1)
        assert (await apis["alice"].ask("POST", f"runs/{run}/stop")).status_code == 202
    finally:
        await apis["admin"].ask("PATCH", "admin/notice", json={"is_draining": False})


async def test_032_no_field_gives_anybody_more(hub, apis, alices):
    """Into every body that a route takes; and into JupyterHub's own."""
    values = {**alices, "server": "-", "name": "x"}
    bodies = 0
    for route in ROUTES:
        if route.body is None:
            continue
        answer = await apis["alice"].ask(
            route.method, route.path.format(**values), content=json.dumps(FOREIGN)
        )
        assert answer.status_code == 400, (route.name, answer.text)
        told = {one["field"] for one in answer.json()["error"]["details"]}
        known = set(route.body.model_fields) if hasattr(route.body, "model_fields") else set()
        assert FOREIGN.keys() - known <= told, route.name
        bodies += 1
    assert bodies >= 6
    # Where all the rest is right, so that it is nothing else that is refused.
    right = {"spec": {"notebook": f"{SECRET}.ipynb"}, "run": False}
    for name, value in FOREIGN.items():
        for body in ({**right, name: value}, {**right, "spec": {**right["spec"], name: value}}):
            answer = await apis["alice"].ask("POST", "jobs", json=body)
            assert answer.status_code == 400, (name, answer.text)
    for method, path, body in (
        ("PATCH", "users/alice", {"admin": True}),
        ("POST", "users/alice/tokens", {"scopes": ["admin:users"]}),
        ("POST", "users/alice/tokens", {"scopes": ["custom:himalia:admin"]}),
        ("POST", "users/alice/tokens", {"roles": ["admin"]}),
        ("POST", "groups/physics/users", {"users": ["bob"]}),
        ("POST", "users/bob/activity", {"last_activity": "2030-01-01T00:00:00Z"}),
    ):
        token = apis["alice"].http.headers["Authorization"].split()[1]
        answer = await hub.api(method, path, token=token, json=body)
        assert answer.status_code in {400, 403, 404}, (path, body, answer.text)
    model = (await hub.api("GET", "users/alice")).json()
    assert (model["admin"], model["groups"]) == (False, ["physics"])


async def test_036_submits_at_once_never_exceed_a_quota(alice, apis):
    """Of 200 runs that are asked for at the same moment one is on, and the others wait."""
    await _write(alice, "slow.ipynb", "import time; time.sleep(0.2)")
    made = await alice.ask(
        "POST",
        "/user/alice/himalia/api/jobs",
        json={"spec": {"notebook": "slow.ipynb"}, "run": False, "name": "slow"},
    )
    path = f"jobs/{made.json()['id']}"
    quota = {"scope": "user", "subject": "alice", "running": 1}
    assert (await apis["admin"].ask("PUT", "admin/quotas", json=quota)).status_code == 200
    try:
        asked = [apis["alice"].ask("POST", f"{path}/runs", json={}) for _ in range(200)]
        submitting = asyncio.gather(*asked)
        done = 0
        while done < 4:
            page = await apis["alice"].ask("GET", f"{path}/runs?limit=200")
            found = Counter(one["status"] for one in page.json()["items"])
            assert found["starting"] + found["running"] + found["stopping"] <= 1, found
            done = found["succeeded"] if submitting.done() else 0
        assert {one.status_code for one in await submitting} == {201}
        # By the ledger's own times too: no two of them ever overlapped.
        runs = (await apis["alice"].ask("GET", f"{path}/runs?limit=200")).json()["items"]
        times = sorted((one["started_at"], one["ended_at"]) for one in runs if one["ended_at"])
        for (_, end), (start, _) in itertools.pairwise(times):
            assert end <= start
    finally:
        await apis["admin"].ask("DELETE", "admin/quotas?scope=user&subject=alice")
        await _stopped(apis["alice"], path)


async def _stopped(api, path):
    """Have nothing of a job go on, and forget it."""

    async def unended():
        found = (await api.ask("GET", f"{path}/runs?limit=200")).json()["items"]
        left = [one["id"] for one in found if not one["ended_at"]]
        await asyncio.gather(*(api.ask("POST", f"runs/{one}/stop") for one in left))
        return not left

    await _until(unended, "all have ended")
    assert (await api.ask("DELETE", path)).status_code == 204
