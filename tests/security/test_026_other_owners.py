"""Of what belongs to another owner nothing shows: not by id, not in lists, not in counts."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from himalia.backends.local.backend import LocalBackend
from himalia.core.errors import NotFound
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.model import ScheduleDraft, Status, WorkloadDraft
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.handlers.base import Api
from himalia.handlers.control import control_application
from himalia.handlers.routes import table
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

ROUTES = tuple(
    # What only a hub has is walked at a hub.
    route
    for route in table(load_kinds().values())
    if route.resource != "himalia:sessions"
)
"""Those with an id in their address are walked, with Alice's ids and with absent ones."""
SECRET = "alices-quarterly-figures"
"""Part of every name that Alice gave."""


@pytest_asyncio.fixture
async def service(tmp_path):
    places = Places(home=tmp_path / "home").prepare()
    kinds = load_kinds()
    local = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=LocalBackend(places),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
    )
    await local.open()
    yield local
    await local.close()


@pytest_asyncio.fixture
async def ask(service, tmp_path, unused_tcp_port):
    """Ask as an owner, over the application that control serves."""
    api = Api(service=lambda: service, document=lambda: b"{}")
    application = control_application(
        ROUTES, api, identify=lambda request: request.headers["Test-Owner"]
    )
    server = HTTPServer(application)
    server.listen(unused_tcp_port, "127.0.0.1")
    client = SimpleAsyncHTTPClient(force_instance=True)

    async def send(owner, method, path, body=None):
        return await client.fetch(
            f"http://127.0.0.1:{unused_tcp_port}/himalia/api/{path}",
            method=method,
            headers={"Test-Owner": owner, "Himalia-Root": str(tmp_path)},
            body=body,
            allow_nonstandard_methods=True,
            raise_error=False,
            request_timeout=PATIENCE_SECONDS,
        )

    yield send
    client.close()
    server.stop()
    await server.close_all_connections()


@pytest_asyncio.fixture
async def alices(service, tmp_path):
    """What Alice has: a job, an ended run and a schedule."""
    cell = {"cell_type": "code", "id": "a", "source": f"print({SECRET!r})", "metadata": {},
            "outputs": [], "execution_count": None}  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel},
                "cells": [cell]}  # fmt: skip
    (tmp_path / f"{SECRET}.ipynb").write_text(json.dumps(document))
    alice = Caller(owner="alice", root=tmp_path)
    draft = WorkloadDraft[JobSpec](spec=JobSpec(notebook=f"{SECRET}.ipynb", tags=(SECRET,)))
    job = await service.workloads.create(alice, "job", draft)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            run = await service.runs.get(alice, job.last_run.id)
            if run.status.is_terminal:
                break
            await asyncio.sleep(0.05)
    assert run.status is Status.SUCCEEDED, run.reason
    schedule = await service.schedules.create(
        alice, ScheduleDraft(workload_id=job.id, cron="0 0 1 1 *", paused=True)
    )
    outputs = await service.runs.outputs(alice, run.id)
    return {
        "workload_id": job.id,
        "run_id": run.id,
        "schedule_id": schedule.id,
        "name": outputs[0].name,
    }


ABSENT = {
    "workload_id": new_id("job"),
    "run_id": new_id("run"),
    "schedule_id": new_id("sch"),
    "name": "absent.ipynb",
}


def filled(path, ids):
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    return path


async def test_026_what_is_anothers_looks_as_what_is_absent(ask, alices):
    for route in ROUTES:
        if "{" not in route.path:
            continue
        body = b"{}" if route.body else None
        anothers = await ask("bob", route.method, filled(route.path, alices), body)
        absent = await ask("bob", route.method, filled(route.path, ABSENT), body)
        assert (anothers.code, absent.code) == (404, 404), route.name
        texts = [
            filled_back(answer.body.decode(), ids)
            for answer, ids in ((anothers, alices), (absent, ABSENT))
        ]
        assert texts[0] == texts[1], route.name
        assert SECRET not in texts[0].replace(alices["name"], "")


def filled_back(text, ids):
    for name, value in ids.items():
        text = text.replace(value, name)
    return text


async def test_026_alice_herself_gets_all_of_it(ask, alices):
    """The other side: the addresses of the walk above are right."""
    for route in ROUTES:
        if route.method == "GET" and "{" in route.path:
            answer = await ask("alice", "GET", filled(route.path, alices))
            assert answer.code == 200, (route.name, answer.body)


async def test_026_nothing_of_alices_is_changed_by_the_walk(ask, alices):
    for route in ROUTES:
        if route.method != "GET" and "{" in route.path:
            body = b"{}" if route.body else None
            await ask("bob", route.method, filled(route.path, alices), body)
    for path in ("jobs/{workload_id}", "runs/{run_id}", "schedules/{schedule_id}"):
        assert (await ask("alice", "GET", filled(path, alices))).code == 200, path


async def test_027_lists_searches_and_counts_leak_nothing(ask, alices):
    lists = [route.path for route in ROUTES if route.method == "GET" and "{" not in route.path]
    queries = ("", f"?search={SECRET}", f"?tag={SECRET}", f"?workload_id={alices['workload_id']}")
    for path in lists:
        if path == "schedules/preview":
            continue
        for query in queries:
            answer = await ask("bob", "GET", path + query)
            text = answer.body.decode()
            assert answer.code in (200, 400), (path, query)
            leaked = [value for value in alices.values() if value in text and value not in query]
            assert not leaked, (path, query)
            if answer.code == 200 and path in ("jobs", "runs", "schedules"):
                assert json.loads(text) == {"items": [], "next_cursor": None}, path


async def test_028_bob_builds_nothing_on_alices_job(ask, alices, tmp_path):
    (tmp_path / "bob.ipynb").write_text((tmp_path / f"{SECRET}.ipynb").read_text())
    spec = {"notebook": "bob.ipynb", "after": [{"workload_id": alices["workload_id"]}]}
    answer = await ask("bob", "POST", "jobs", json.dumps({"spec": spec}).encode())
    assert (answer.code, json.loads(answer.body)["error"]["code"]) == (400, "invalid_input")
    body = {"workload_id": alices["workload_id"], "cron": "0 0 * * *"}
    answer = await ask("bob", "POST", "schedules", json.dumps(body).encode())
    body["workload_id"] = ABSENT["workload_id"]
    absent = await ask("bob", "POST", "schedules", json.dumps(body).encode())
    assert answer.code == absent.code
    assert answer.code in (400, 404)


async def test_032_nobody_sets_what_is_not_theirs_to_set(ask, alices):
    fields = {"owner", "id", "status", "root", "kind", "token", "created_at"}
    body = json.dumps(dict.fromkeys(fields, "alice")).encode()
    for route in ROUTES:
        if route.body is not None:
            answer = await ask("alice", route.method, filled(route.path, alices), body)
            assert answer.code == 400, route.name
            details = json.loads(answer.body)["error"]["details"]
            assert fields <= {detail["field"] for detail in details}, route.name


async def test_026_an_idempotency_key_is_its_owners_own(service, tmp_path):
    empty = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    (tmp_path / "nb.ipynb").write_text(json.dumps(empty))
    draft = WorkloadDraft[JobSpec](spec=JobSpec(notebook="nb.ipynb"), run=False)
    made = [
        await service.workloads.create(
            Caller(owner=owner, root=tmp_path), "job", draft, idempotency_key="same"
        )
        for owner in ("alice", "bob")
    ]
    assert made[0].id != made[1].id
    with pytest.raises(NotFound):
        await service.workloads.get(Caller(owner="bob", root=tmp_path), "job", made[0].id)
