"""Processes of control: how they start, take over, share their work and end."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.hub.control.processes import Place, new_place
from tests.servers.hub_api import HubApiServer
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres
from tests.servers.stalls import allowed
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio


@pytest.fixture
def place(hub_server: HubApiServer) -> Iterator[Place]:
    """A state folder with a configuration."""
    made = new_place(hub_server)
    yield made
    made.clear()


async def test_it_starts_works_and_ends_in_order(place, hub_server):
    hub_server.add("alice")
    process = place.start()
    await process.listens()
    await process.ready()
    token = hub_server.token("alice")
    assert (await process.ask("api/status", token)).status_code == 200
    assert (await process.ask("health/live")).json()["status"] == "live"
    said = json.loads((place.state.data / "control.json").read_text())
    assert said["pid"] == process.child.pid
    began = time.monotonic()
    assert process.end() == 0
    assert time.monotonic() - began < allowed(8, began)
    assert "Traceback" not in process.log()
    assert token not in process.log()


async def test_health_tells_nothing_and_metrics_are_for_who_may_read_them(place, hub_server):
    hub_server.add("alice")
    place.configure("c.Himalia.metrics = 'loopback'")
    process = place.start()
    await process.listens()
    await process.ready()
    for path in ("health/live", "health/ready"):
        answer = await process.ask(path)
        assert answer.status_code == 200
        assert str(place.folder) not in answer.text
    token = hub_server.token("alice")
    await process.ask("api/jobs", token)
    near = await process.ask("metrics")
    assert near.status_code == 200
    assert 'himalia_requests_total{route="listJobs",status="200"} 1.0' in near.text
    assert "himalia_store_up 1.0" in near.text
    assert 'himalia_claims{result="claimed"} 0.0' in near.text
    assert 'himalia_claims{result="failed"} 0.0' in near.text
    assert "alice" not in near.text
    proxied = {"headers": {"X-Forwarded-For": "127.0.0.1"}}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{process.url}metrics", **proxied)).status_code == 401
        for scopes, status in ((("read:metrics",), 200), (("read:users",), 403)):
            bearer = {"Authorization": f"token {hub_server.token('alice', *scopes)}"}
            answer = await client.get(
                f"{process.url}metrics", headers={**proxied["headers"], **bearer}
            )
            assert answer.status_code == status


async def test_a_new_control_ends_the_one_that_an_earlier_hub_left(place):
    old = place.start()
    await old.listens()
    await old.ready()
    new = place.start()
    await new.listens()
    await new.ready()
    assert old.child.wait(1) == 0
    assert new.url == old.url
    assert "ending the control that ran before" in new.log()


async def test_it_takes_nobody_else_for_its_predecessor(place, hub_server):
    # The number of a process that is somebody else's by now.
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    place.state.prepare()
    said = {"pid": bystander.pid, "process_started": 1.0}
    (place.state.data / "control.json").write_text(json.dumps(said))
    process = place.start()
    await process.listens()
    await process.ready()
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


async def test_093_without_its_database_it_listens_says_so_and_comes_back(
    place, hub_server, postgres: Postgres
):
    database = postgres.create()
    user = hub_server.add("alice")
    async with TcpProxy("127.0.0.1", postgres.port) as proxy:
        url = postgres.url(database, port=proxy.port)
        place.configure(f"c.Himalia.store_url = {url!r}")
        await proxy.refuse()
        process = place.start()
        await process.listens()
        assert (await process.ask("health/live")).status_code == 200
        await process.ready(503)
        token = hub_server.token(user.name)
        answer = await process.ask("api/jobs", token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        await proxy.heal()
        healed = time.monotonic()
        assert await process.ready() < allowed(10, healed)
        assert (await process.ask("api/jobs", token)).status_code == 200
        await proxy.refuse()
        proxy.cut()
        await process.ready(503)
        answer = await process.ask("api/jobs", token)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        await proxy.heal()
        healed = time.monotonic()
        assert await process.ready() < allowed(10, healed)
        assert (await process.ask("api/jobs", token)).status_code == 200
    # The password in the address is in none of what it said.
    assert url not in process.log()
    process.end(signal.SIGKILL)
    postgres.drop(database)


async def test_several_controls_share_a_database_and_survive_the_loss_of_one(
    place, hub_server, postgres: Postgres
):
    database = postgres.create()
    place.configure(f"c.Himalia.store_url = {postgres.url(database)!r}")
    hub_server.add("alice")
    first = place.start()
    await first.listens()
    await first.ready()
    second = place.start("--beside")
    await second.listens()
    await second.ready()
    assert first.url != second.url
    assert first.child.poll() is None
    store = SqlStore(postgres.url(database), load_kinds().decode_spec)
    await store.open()
    try:
        before = await leaders(store)
        alive = {duty for duty in before if duty.startswith("alive:")}
        assert len(alive) == 2
        duties = {"tick", "tidy", "tell", "roll", "cull"}
        assert duties <= before.keys()
        token = hub_server.token("alice")
        for process in (first, second):
            assert (await process.ask("api/status", token)).status_code == 200
        first.end(signal.SIGKILL)
        began = time.monotonic()
        # The hub's own control has the shorter name.
        survivor = max((before[duty] for duty in alive), key=len)
        while {(now := await leaders(store)).get(duty) for duty in duties} != {survivor}:
            assert time.monotonic() - began < allowed(15, began), now
            await asyncio.sleep(0.2)
        # One that ends in order leaves its duties at once.
        third = place.start()
        await third.listens()
        await third.ready()
        assert second.end() == 0
        began = time.monotonic()
        while (await leaders(store)).get("tick") in {None, survivor}:
            assert time.monotonic() - began < allowed(8, began)
            await asyncio.sleep(0.2)
    finally:
        await store.close()
        for process in place.started:
            if process.child.poll() is None:
                process.end(signal.SIGKILL)
        postgres.drop(database)


NOTEBOOK = """
import json, os, pathlib, time, urllib.error, urllib.request
home = pathlib.Path.home()
with open(home / "tally", "a") as tally:
    tally.write("begun ")

def ask(method, path):
    request = urllib.request.Request(
        os.environ["HIMALIA_CONTROL_URL"] + path,
        method=method,
        data=b"{}" if method == "POST" else None,
        headers={"Authorization": "token " + os.environ["HIMALIA_TOKEN"]},
    )
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code

said = {
    "token": os.environ["HIMALIA_TOKEN"],
    "runs": ask("GET", "api/runs"),
    "jobs": ask("POST", "api/jobs"),
    "stop": ask("POST", "api/runs/run-00000000000000000000000000/stop"),
    "admin": ask("GET", "api/admin/overview"),
}
(home / "said.new").write_text(json.dumps(said))
(home / "said.new").rename(home / "said")
while not (home / "go").exists():
    time.sleep(0.1)
"""


async def test_a_killed_controls_runs_are_taken_over_and_run_once(
    place, hub_server, postgres: Postgres
):
    database = postgres.create()
    place.configure(f"c.Himalia.store_url = {postgres.url(database)!r}")
    user = hub_server.add("alice")
    token = hub_server.token("alice")
    first, second = place.start(), place.start("--beside")
    for process in (first, second):
        await process.listens()
        await process.ready()
    assert (await first.ask("api/environments", token)).status_code == 200
    place.write(user, "long.ipynb", NOTEBOOK)
    draft = {"name": "long", "spec": {"notebook": "long.ipynb"}}
    made = await first.ask("api/jobs", token, method="POST", json=draft)
    assert made.status_code == 201, made.text
    run = f"api/runs/{made.json()['last_run']['id']}"
    end = time.monotonic() + PATIENCE_SECONDS
    while not (place.home(user) / "said").exists():
        assert time.monotonic() < end, first.log()
        await asyncio.sleep(0.1)
    said = json.loads((place.home(user) / "said").read_text())
    # With the token of its own a run may look, and nothing more.
    assert (said["runs"], said["jobs"], said["stop"], said["admin"]) == (200, 403, 403, 403)
    first.end(signal.SIGKILL)
    (place.home(user) / "go").touch()
    end = time.monotonic() + PATIENCE_SECONDS
    while (ended := (await second.ask(run, token)).json())["ended_at"] is None:
        assert time.monotonic() < end, ended
        await asyncio.sleep(0.2)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1), ended
    assert (place.home(user) / "tally").read_text() == "begun "
    assert (await second.ask("api/runs", said["token"])).status_code == 401
    assert said["token"] not in first.log() + second.log()
    second.end(signal.SIGKILL)
    postgres.drop(database)


async def test_what_a_deleted_user_left_goes_to_the_heir_with_its_files(place, hub_server):
    place.configure('c.Himalia.on_user_deleted = "transfer"', 'c.Himalia.heir = "bob"')
    alice, bob = hub_server.add("alice"), hub_server.add("bob")
    mine, his = hub_server.token("alice"), hub_server.token("bob")
    process = place.start()
    await process.listens()
    await process.ready()
    assert (await process.ask("api/environments", mine)).status_code == 200
    place.write(alice, "sums.ipynb", "print('from alice')")
    draft = {"name": "sums", "spec": {"notebook": "sums.ipynb"}}
    made = (await process.ask("api/jobs", mine, method="POST", json=draft)).json()
    run = f"api/runs/{made['last_run']['id']}"
    end = time.monotonic() + PATIENCE_SECONDS
    while (await process.ask(run, mine)).json()["ended_at"] is None:
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)
    assert (await process.ask(run, his)).status_code == 404
    hub_server.remove("alice")
    end = time.monotonic() + PATIENCE_SECONDS
    while (await process.ask(run, his)).status_code != 200:
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)
    outputs = (await process.ask(f"{run}/outputs", his)).json()["items"]
    assert outputs, "the files came with the rows"
    text = (await process.ask(f"{run}/outputs/{outputs[0]['name']}", his)).text
    assert "from alice" in text
    again = await process.ask(f"api/jobs/{made['id']}/runs", his, method="POST", json={})
    assert again.status_code == 201, again.text
    end = time.monotonic() + PATIENCE_SECONDS
    while (ended := (await process.ask(f"api/runs/{again.json()['id']}", his)).json())[
        "ended_at"
    ] is None:
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)
    assert ended["status"] == "succeeded", ended
    end = time.monotonic() + PATIENCE_SECONDS
    while place.home(alice).exists():
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)
    assert place.home(bob).exists()


async def leaders(store: SqlStore) -> dict[str, str]:
    return await store.team.leaders.leaders(datetime.now(UTC))
