"""Sessions as pods at a real hub: apart from each other, at home, and plain about what is wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Self

import httpx
import pytest
import pytest_asyncio
from typing_extensions import override

from himalia.core.names import namespace, owner_id
from tests.servers.cluster import UID
from tests.servers.cluster_hub import ClusterHub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.session import ENDS, Session

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.kubernetes]
REACH = """
import concurrent.futures, json, socket, sys
def how(place):
    try:
        socket.create_connection(tuple(place[1:]), timeout=4).close()
        return place[0], "open"
    except OSError:
        return place[0], "closed"
places = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(pool.map(how, places))))
"""


class Person(Session):
    """A user of the hub whose session is a pod."""

    hub: ClusterHub
    owner = ""
    space = ""

    @override
    async def __aenter__(self) -> Self:
        return await self.know()

    async def know(self) -> Self:
        """Log in, and find out the owner's id as control does."""
        await self.visitor.log_in(self.hub.password)
        said = (await self.hub.api("GET", f"users/{self.name}")).json()
        self.owner = owner_id(said["name"], datetime.fromisoformat(said["created"]))
        self.space = namespace(self.owner, self.hub.prefix)
        return self

    async def work(self) -> Self:
        """Start the session, and open its page."""
        await self.know()
        await self.hub.open_server(self.name, seconds=2 * PATIENCE_SECONDS)
        page = await self.visitor.enter(f"{self.base}lab")
        assert page.status_code == 200, page.text[-1000:]
        return self

    async def rest(self) -> None:
        """Stop the session, and wait until it is gone."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = await self.hub.api("DELETE", f"users/{self.name}/server")
            assert answer.status_code in {202, 204}, answer.text
            said = (await self.hub.api("GET", f"users/{self.name}")).json()
            if not said["servers"]:
                return
            assert time.monotonic() < end
            await asyncio.sleep(0.5)

    def pod(self) -> Any:
        (found,) = self.hub.cluster.get(
            "pods", "--namespace", self.space, "--selector=app.kubernetes.io/component=session"
        )["items"]
        return found

    def run(self, *command: str) -> str:
        """Run a program in the session's pod."""
        pod = ("exec", f"pod/{self.pod()['metadata']['name']}", "--namespace", self.space)
        return self.hub.cluster.kubectl(*pod, "--container=notebook", "--", *command)

    def reach(self, *where: tuple[str, str, int]) -> dict[str, str]:
        """Tell which addresses can be reached from the session's pod."""
        said = self.run("python", "-c", REACH, json.dumps(where))
        found: dict[str, str] = json.loads(said)
        return found

    def pods(self) -> list[dict[str, str]]:
        """Return what runs in the user's namespace."""
        found = self.hub.cluster.get("pods", "--namespace", self.space)["items"]
        name = "app.kubernetes.io/component"
        return [{"component": one["metadata"]["labels"].get(name, "")} for one in found]

    async def offered(self, has: str = "", has_not: str = "") -> dict[str, Any]:
        """Wait until a profile is offered to the user, or is not any more; return all."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                said = await self.ask("GET", "himalia/api/profiles")
                found = {one["name"]: one for one in said.json()["items"]}
                if (not has or has in found) and has_not not in found:
                    return found
                await asyncio.sleep(0.3)

    async def appeared(self, component: str) -> list[Any]:
        """Wait until there are pods of a kind; return them."""
        label = f"--selector=app.kubernetes.io/component={component}"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                pods = self.hub.cluster.get("pods", "--namespace", self.space, label)["items"]
                if pods:
                    return list(pods)
                await asyncio.sleep(0.2)

    async def fail(self, profile: str) -> list[str]:
        """Start a server that cannot start; return what the page said meanwhile."""
        path = f"users/{self.name}/server"
        answer = await self.hub.api("POST", path, json={"profile": profile})
        assert answer.status_code in {202, 500}, answer.text
        if answer.status_code == 500:
            return [answer.json()["message"]]
        seen = []
        async with self.visitor.http.stream(
            "GET", f"/hub/api/{path}/progress", timeout=PATIENCE_SECONDS
        ) as progress:
            async for line in progress.aiter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    seen.append(event["message"])
                    if event.get("failed"):
                        break
        return seen


@pytest.fixture(scope="module")
def hub(cluster_hub: ClusterHub) -> ClusterHub:
    return cluster_hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(hub: ClusterHub) -> AsyncIterator[tuple[Person, Person]]:
    """Two users who are at work."""
    ann, bob = await asyncio.gather(Person(hub, "ann").work(), Person(hub, "bob").work())
    yield ann, bob
    for person in (ann, bob):
        await person.rest()
        await person.visitor.http.aclose()


async def test_each_session_is_a_restricted_pod_in_its_users_namespace(
    two: tuple[Person, Person],
) -> None:
    assert len({person.space for person in two}) == 2
    for person in two:
        pod = person.pod()
        assert pod["metadata"]["annotations"]["himalia.io/owner"] == person.owner
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert spec["serviceAccountName"] == "himalia-session"
        assert "serviceaccount" not in json.dumps(spec["volumes"])
        assert container["securityContext"]["runAsUser"] == UID
        assert container["resources"]["limits"]["memory"] == str(2**30)
        assert person.run("id", "-u").strip() == str(UID)


async def test_a_home_is_its_users_own_folder_of_the_export(two: tuple[Person, Person]) -> None:
    ann, bob = two
    for person in two:
        person.run("sh", "-c", f"umask 077; echo {person.name} > ~/mine")
        mine = person.hub.owned(person.owner) / "mine"
        assert mine.read_text().strip() == person.name
        found = mine.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (UID, UID, 0o600)
    assert ann.run("cat", "/home/jovyan/mine").strip() == "ann"
    # Nothing leads from one home to the other, nor to what holds both.
    mounts = ann.run("cat", "/proc/mounts")
    assert bob.owner not in mounts
    listed = ann.run("sh", "-c", "ls -a /home /home/jovyan/.. 2>&1; ls -a /home/jovyan")
    assert bob.owner not in listed
    assert ann.hub.prefix not in listed


async def test_076_a_session_reaches_the_hub_and_nothing_of_others(
    two: tuple[Person, Person],
) -> None:
    ann, bob = two
    hub, cluster = ann.hub, ann.hub.cluster
    api = cluster.get("service", "kubernetes", "--namespace", "default")["spec"]["clusterIP"]
    found = ann.reach(
        ("hub", cluster.node, hub.ports["hub"]),
        ("control", cluster.node, hub.ports["control"]),
        ("bob", bob.pod()["status"]["podIP"], 8888),
        ("api", api, 443),
        ("api by name", "kubernetes.default.svc.cluster.local", 443),
        ("api server", cluster.node, 6443),
        ("kubelet", cluster.node, 10250),
        ("nfs", cluster.nfs_server, 2049),
        ("metadata", "169.254.169.254", 80),
        ("namespaces", cluster.node, hub.ports["namespaces"]),
        ("itself", "127.0.0.1", 8888),
    )
    open_ones = {name for name, how in found.items() if how == "open"}
    assert open_ones == {"hub", "control", "itself"}
    # Names are found: otherwise what is closed would only be unknown.
    name = "kubernetes.default.svc.cluster.local"
    asked = f"import socket; print(socket.gethostbyname({name!r}))"
    assert ann.run("python", "-c", asked).strip() == api


async def test_007_a_users_token_opens_nothing_of_anothers(two: tuple[Person, Person]) -> None:
    ann, bob = two
    where = f"http://{ann.hub.cluster.node}:{ann.hub.ports['hub']}/hub/api/users"
    code = (
        "import os, sys, urllib.request as r, urllib.error as e\n"
        "q = r.Request(sys.argv[1], headers={'Authorization': "
        "'token ' + os.environ['JUPYTERHUB_API_TOKEN']})\n"
        "try: print(r.urlopen(q, timeout=20).status)\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    assert ann.run("python", "-c", code, f"{where}/ann").strip() == "200"
    assert ann.run("python", "-c", code, f"{where}/bob").strip() == "404"
    answer = await ann.visitor.ask("GET", f"{bob.base}api/contents")
    assert answer.status_code in {403, 404}


async def test_068_a_job_is_given_a_profile_as_long_as_its_user_may_use_it(
    two: tuple[Person, Person],
) -> None:
    ann = two[0]
    body = {"spec": {"notebook": await ann.write("p.ipynb", "1"), "profile": "team"}, "run": False}
    refused = await ann.ask("POST", "himalia/api/jobs", json=body)
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["details"][0]["field"] == "spec.profile"
    assert "gold" not in refused.text

    await ann.hub.api("POST", "groups/staff")
    await ann.hub.api("POST", "groups/staff/users", json={"users": ["ann"]})
    offer = (await ann.offered(has="team"))["team"]
    assert (offer["cpu"], offer["memory_bytes"], offer["price"]) == (0.5, 2**29, "0.10 € an hour")
    run = await ann.job("import time; time.sleep(5)", name="p.ipynb", profile="team")
    (pod,) = await ann.appeared("run")
    resources = pod["spec"]["containers"][0]["resources"]
    assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == ("50m", "500m")
    assert 2**29 <= int(resources["limits"]["memory"]) < 2**30
    assert (await ann.ended(run["id"]))["status"] == "succeeded"

    await ann.hub.api("DELETE", "groups/staff/users", json={"users": ["ann"]})
    await ann.offered(has_not="team")
    where = f"himalia/api/jobs/{run['workload_id']}"
    again = await ann.ask("POST", f"{where}/runs", json={})
    assert again.status_code == 400, again.text
    assert again.json()["error"]["details"][0]["field"] == "spec.profile"
    spec = (await ann.ask("GET", where)).json()["spec"]
    assert spec["resources"] == {"cpu": 0.5, "memory_bytes": 2**29}


async def test_a_job_runs_on_as_a_pod_when_its_session_is_stopped(
    two: tuple[Person, Person],
) -> None:
    ann = two[0]
    run = await ann.job("import time; time.sleep(10)", "import os; print('ran as', os.getuid())")
    await ann.rest()
    answer = await ann.hub.api("POST", "users/ann/tokens", json={"note": "looks on"})
    token = answer.json()["token"]
    end = time.monotonic() + 2 * PATIENCE_SECONDS
    seen = set()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        while True:
            where = f"{ann.hub.service}api/runs/{run['id']}"
            said = await client.get(where, headers={"Authorization": f"token {token}"})
            assert said.status_code == 200, said.text
            seen |= {pod["component"] for pod in ann.pods()}
            if said.json()["status"] in ENDS:
                break
            assert time.monotonic() < end, said.text
            await asyncio.sleep(0.3)
    assert said.json()["status"] == "succeeded", said.text
    assert "run" in seen
    assert "session" not in seen
    await ann.work()
    assert f"ran as {UID}" in await ann.said(run["id"])


async def test_100_an_image_that_is_not_there_is_named(hub: ClusterHub) -> None:
    async with Person(hub, "ida") as person:
        said = await person.fail("nowhere")
        assert "of-this-name" in said[-1]
        assert "cannot be fetched" in said[-1]


async def test_100_a_quota_that_is_used_up_is_explained(hub: ClusterHub) -> None:
    async with Person(hub, "gus") as person:
        said = await person.fail("greedy")
        assert "may not take more" in said[-1]


async def test_068_a_profile_of_others_cannot_be_had(hub: ClusterHub) -> None:
    async with Person(hub, "pat") as person:
        assert "no such profile" in (await person.fail("gold"))[-1]
        form = await person.visitor.enter("/hub/spawn/pat")
        assert 'value="small"' in form.text
        assert 'value="gold"' not in form.text


async def test_100_who_waits_for_room_is_told_what_is_lacking(hub: ClusterHub) -> None:
    async with Person(hub, "uma") as person:
        await hub.api("POST", "users/uma/server", json={"profile": "huge"})
        end = time.monotonic() + PATIENCE_SECONDS
        async with person.visitor.http.stream(
            "GET", "/hub/api/users/uma/server/progress", timeout=PATIENCE_SECONDS
        ) as progress:
            async for line in progress.aiter_lines():
                assert time.monotonic() < end
                if "No machine has enough cores" in line:
                    break
        stopped = await hub.api("DELETE", "users/uma/server")
        assert stopped.status_code in {202, 204}


async def test_a_right_that_is_known_a_moment_later_is_waited_for(hub: ClusterHub) -> None:
    """In a new namespace, the cluster's servers learn of the hub's rights one after the other."""
    role, cluster = f"clusterrole/{hub.prefix}-sessions", hub.cluster
    rules = cluster.get(role)["rules"]

    def allow(some: list[dict[str, Any]]) -> None:
        cluster.kubectl("patch", role, "--type=merge", "--patch", json.dumps({"rules": some}))

    async with Person(hub, "rae") as person:
        allow([])
        try:
            start = asyncio.create_task(hub.open_server("rae", seconds=2 * PATIENCE_SECONDS))
            await asyncio.sleep(3)
        finally:
            allow(rules)
        await start
        await person.rest()
