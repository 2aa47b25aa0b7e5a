"""What befalls pods: each time one status that says why, one execution, and nothing left over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from himalia.agents.fleet import Agents
from himalia.backends.base import AttemptRef, Observation, Phase, Refused
from himalia.backends.kubernetes.backend import KubernetesBackend
from himalia.core.errors import Unavailable
from himalia.core.model import Run, Status
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.task import RUNNER, NotebookTask
from tests.kubernetes.conftest import Tenant
from tests.servers.cluster import Cluster, Estate
from tests.servers.notebooks import pinned
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.pods import pod_backend
from tests.servers.stalls import allowed
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONCE = (
    "import os, time\n"
    "with open(os.path.expanduser({name!r}), 'a') as f: f.write('x')\n"
    "if os.path.getsize(os.path.expanduser({name!r})) == 1: time.sleep(600)"
)
"""Sleeps at its first try, and is done at once at the second."""


async def running(me: Tenant, name: str) -> tuple[Run, str]:
    """Start a run that sleeps at its first try; return it and its pod, once it sleeps."""
    job = await me.job(ONCE.format(name=f"~/{name}"))
    run = await me.until(job.last_run, Status.RUNNING)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (me.home / name).exists():  # noqa: ASYNC110 - of a pod nothing else tells
            await asyncio.sleep(0.2)
    return run, f"{run.id}-1"


def delete(cluster: Cluster, space: str, pod: str) -> None:
    cluster.kubectl("delete", "pod", pod, "--namespace", space, "--grace-period=0", "--force")


def evict(cluster: Cluster, space: str, pod: str) -> None:
    about = {"name": pod, "namespace": space}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about}
    path = f"/api/v1/namespaces/{space}/pods/{pod}/eviction"
    cluster.kubectl("create", "--raw", path, "--filename=-", given=eviction)


@pytest.mark.parametrize("end", [delete, evict])
async def test_a_run_whose_pod_was_ended_is_tried_again_and_not_taken_for_stopped(
    me: Tenant, end: Callable[[Cluster, str, str], None]
) -> None:
    name = end.__name__
    run, pod = await running(me, name)
    end(me.estate.cluster, me.space, pod)
    ended = await me.ended(run)
    assert (ended.status, ended.attempt, ended.lost_attempts) == (Status.SUCCEEDED, 2, 1), ended
    assert (me.home / name).read_text() == "xx"


async def test_a_run_that_takes_too_much_memory_fails_with_that_reason(me: Tenant) -> None:
    job = await me.job(
        "import mmap\nmuch = mmap.mmap(-1, 2**30)\nfor at in range(0, 2**30, 4096): much[at] = 1",
        resources=Resources(memory_bytes=128 * 2**20),
    )
    run = await me.ended(job.last_run)
    assert run.status is Status.FAILED
    assert run.reason is not None
    assert run.reason.code == "out_of_memory"
    assert run.attempt == 1


async def test_a_run_that_nobody_has_room_for_says_so_and_can_be_stopped(me: Tenant) -> None:
    job = await me.job("1", resources=Resources(cpu=1000))
    assert job.last_run is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (  # noqa: ASYNC110
            now := await me.service.runs.get(me.caller, job.last_run.id)
        ).reason is None:
            await asyncio.sleep(0.2)
    assert now.reason is not None
    assert now.reason.code == "unschedulable"
    assert "cpu" in now.reason.message
    await me.service.runs.stop(me.caller, now.id)
    assert (await me.ended(now)).status is Status.STOPPED


class Bench:
    """Backends, one after the other, without a service before them."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.owner = estate.owner("bench")
        self.home = str(estate.home(self.owner))
        self.places = Places(home=estate.home(self.owner) / ".himalia" / self.owner)
        for name in ("runs", "snapshots"):
            estate.folder(self.owner, f".himalia/{self.owner}/{name}")
        self.agents: Agents
        self.open: list[KubernetesBackend] = []

    async def backend(self, **changes: Any) -> KubernetesBackend:
        backend, self.agents = await pod_backend(self.estate, home=self.home, **changes)
        await backend.open()
        self.open.append(backend)
        return backend

    def attempt(self, *cells: str, **changes: Any) -> tuple[AttemptRef, RunPlan]:
        usual: dict[str, Any] = {
            "runner": RUNNER,
            "task": NotebookTask(notebook="n.ipynb").to_json(),
            "environment": "python3",
            "env": {},
            "resources": Resources(),
            "snapshot_digest": pinned(self.places, *cells),
            "timeout_seconds": None,
            "grace_seconds": 4,
        }
        ref = AttemptRef(owner=self.owner, run_id=new_id("run"), attempt=1)
        return ref, RunPlan(**(usual | changes))

    async def until(
        self, backend: KubernetesBackend, ref: AttemptRef, *phases: Phase
    ) -> Observation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                seen = (await backend.observe([ref])).get(ref)
                if seen is not None and seen.phase in phases:
                    return seen
                await asyncio.sleep(0.2)

    def pods(self) -> dict[str, Any]:
        space = self.estate.space(self.owner)
        label = "app.kubernetes.io/component=run"
        found = self.estate.cluster.get("pods", "--namespace", space, "--selector", label)
        return {pod["metadata"]["name"]: pod for pod in found["items"]}


@pytest_asyncio.fixture(loop_scope="module")
async def bench(cluster_estate: Estate) -> AsyncIterator[Bench]:
    bench = Bench(cluster_estate)
    yield bench
    for backend in bench.open:
        await backend.close()


async def test_an_image_that_is_missing_is_named_while_it_starts_and_when_it_fails(
    bench: Bench,
) -> None:
    backend = await bench.backend(start_seconds=20.0, runs={"image": "none.example/no:1"})
    ref, plan = bench.attempt("1")
    await backend.start(ref, plan)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (seen := (await backend.observe([ref]))[ref]).reason is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert seen.phase is Phase.STARTING
    assert seen.reason is not None
    assert seen.reason.code == "image_missing"
    seen = await bench.until(backend, ref, Phase.ENDED)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.FAILED
    assert seen.outcome.reason is not None
    assert seen.outcome.reason.code == "image_missing"
    assert "none.example/no:1" in seen.outcome.reason.message


@pytest.mark.parametrize(("end", "code"), [(delete, "pod_gone"), (evict, "evicted")])
async def test_why_a_pod_was_ended_is_said(
    bench: Bench, end: Callable[[Cluster, str, str], None], code: str
) -> None:
    backend = await bench.backend()
    ref, plan = bench.attempt("import time; time.sleep(600)")
    await backend.start(ref, plan)
    await bench.until(backend, ref, Phase.RUNNING)
    end(bench.estate.cluster, bench.estate.space(bench.owner), ref.name)
    seen = await bench.until(backend, ref, Phase.LOST, Phase.ENDED)
    assert seen.phase is Phase.LOST
    assert seen.reason is not None
    assert seen.reason.code == code
    assert ref.name not in bench.pods()


async def test_an_attempt_is_not_lost_while_its_pod_is_there_whatever_its_folder_says(
    bench: Bench,
) -> None:
    backend = await bench.backend()
    go = bench.estate.folder(bench.owner, "work") / new_id("dir")
    ref, plan = bench.attempt(
        f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    )
    await backend.start(ref, plan)
    await bench.until(backend, ref, Phase.RUNNING)
    started = bench.places.runs / ref.run_id / "1" / "started.json"
    started.chmod(0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ref in (seen := await backend.observe([ref])):
            assert seen[ref].phase is Phase.RUNNING
            await asyncio.sleep(0.2)
    assert "cannot be read" in backend.silence(bench.owner)
    started.chmod(0o600)
    await bench.until(backend, ref, Phase.RUNNING)
    assert backend.silence(bench.owner) == ""
    go.touch()
    assert (await bench.until(backend, ref, Phase.ENDED)).outcome is not None


async def test_two_controls_that_start_the_same_attempt_make_one_pod(bench: Bench) -> None:
    one, other = await bench.backend(), await bench.backend()
    tally = bench.estate.folder(bench.owner, "work") / new_id("dir")
    ref, plan = bench.attempt(f"open({str(tally)!r}, 'a').write('x')")
    await asyncio.gather(*(backend.start(ref, plan) for backend in (one, other) * 3))
    seen = await bench.until(other, ref, Phase.ENDED)
    await one.start(ref, plan)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.SUCCEEDED
    assert tally.read_text() == "x"
    assert (await one.observe([ref]))[ref].phase is Phase.ENDED


@pytest.mark.parametrize("point", ["prepared", "made", "running"])
async def test_a_control_that_is_gone_at_any_point_is_followed_by_another(
    bench: Bench, point: str
) -> None:
    tally = bench.estate.folder(bench.owner, "work") / new_id("dir")
    go = tally.with_suffix(".go")
    ref, plan = bench.attempt(
        f"import os, time\nopen({str(tally)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)"
    )
    first = await bench.backend()
    if point == "prepared":
        await first._folders.start(ref, plan)
    else:
        await first.start(ref, plan)
        await bench.until(first, ref, Phase.RUNNING if point == "running" else Phase.STARTING)
    # It says nothing to anybody any more; what it held is cut.
    for task in first._tasks:
        task.cancel()
    await first._api.close()
    await first._watching.close()
    await first._folders.close()

    second = await bench.backend()
    seen = await bench.until(second, ref, Phase.ABSENT, Phase.STARTING, Phase.RUNNING)
    assert (seen.phase is Phase.ABSENT) == (point == "prepared")
    await second.start(ref, plan)
    await bench.until(second, ref, Phase.RUNNING)
    found = await second.running(bench.owner)
    assert [one for one in found if one.run_id == ref.run_id] == [ref]
    go.touch()
    seen = await bench.until(second, ref, Phase.ENDED)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.SUCCEEDED
    assert tally.read_text() == "x"
    bench.open.remove(first)


@pytest.mark.parametrize("how", ["refuses", "stalls"])
async def test_a_run_outlasts_an_api_server_that_is_out_of_reach(
    bench: Bench, tmp_path: Path, how: str
) -> None:
    work = bench.estate.folder(bench.owner, "work")
    go = work / new_id("dir")
    ref, plan = bench.attempt(
        f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    )
    server = urlsplit(bench.estate.cluster.server)
    async with TcpProxy(server.hostname or "", server.port or 443) as proxy:
        config = tmp_path / "kubeconfig"
        config.write_text(bench.estate.cluster.kubeconfig_by(f"https://127.0.0.1:{proxy.port}"))
        backend = await bench.backend(kubeconfig=str(config))
        await backend.start(ref, plan)
        await bench.until(backend, ref, Phase.RUNNING)
        if how == "refuses":
            await proxy.vanish()
        else:
            proxy.stall()
        for _ in range(3):
            begun = time.monotonic()
            seen = await backend.observe([ref])
            assert ref not in seen or seen[ref].phase is Phase.RUNNING
            assert time.monotonic() - begun < allowed(20, begun)
        with pytest.raises(Unavailable):
            await backend.stop(bench.attempt("2")[0])
        go.touch()
        await proxy.heal()
        seen_last = await bench.until(backend, ref, Phase.ENDED)
        assert seen_last.outcome is not None
        assert seen_last.outcome.status is Status.SUCCEEDED
        assert bench.agents.broken(bench.owner) is None
        await backend.close()
        bench.open.remove(backend)


async def test_what_ended_while_nobody_looked_is_cleared_away(bench: Bench) -> None:
    first = await bench.backend()
    ref, plan = bench.attempt("1")
    await first.start(ref, plan)
    await first.close()
    bench.open.remove(first)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while bench.pods()[ref.name]["status"].get("phase") != "Succeeded":  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    second = await bench.backend()
    other, _ = bench.attempt("2")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ref.name in bench.pods():
            await second.stop(other)
            await asyncio.sleep(0.5)
    assert (await second.observe([ref]))[ref].phase is Phase.ENDED


async def test_a_pod_of_the_same_name_that_is_not_ours_is_left_alone(bench: Bench) -> None:
    backend = await bench.backend()
    ref, plan = bench.attempt("1")
    space = bench.estate.space(bench.owner)
    pod = _stranger(ref.name, bench.estate.cluster.image("session"))
    bench.estate.cluster.kubectl("apply", "--namespace", space, "--filename=-", given=pod)
    with pytest.raises(Refused, match="somebody else's"):
        await backend.start(ref, plan)
    await backend.stop(ref)
    bench.estate.cluster.kubectl("get", "pod", ref.name, "--namespace", space)


def _stranger(name: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "other",
                    "image": image,
                    "command": ["sleep", "600"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
