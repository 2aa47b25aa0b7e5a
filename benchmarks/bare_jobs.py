"""Runs of ours beside bare Jobs of the same pod, as ``kubectl create job`` makes them.

What is compared must do the same. A bare Job of the very runner, which runs the same notebook from
the same home, differs in nothing but what started it, so that what ours takes more is all that a
run has besides: its snapshot, its folder, its row in the store and the words about it. Beside that
stand what people would use without us, ``nbconvert --execute``, and a Job that does nothing.

A Job counts from the request that makes it to the news that it is complete, a run from the request
that starts it to the news that it succeeded, by when its outputs can be read.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stages import Stages
from table import Table, median, milliseconds

from himalia.backends.base import AttemptRef
from himalia.backends.kubernetes.api import Api
from himalia.backends.kubernetes.pods import run_pod
from himalia.backends.kubernetes.settings import PodSettings
from himalia.client import AsyncClient
from himalia.core.model import Status
from himalia.core.names import namespace, new_id, owner_id
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia_hub.kubernetes.bundle import CLAIM, RUN_ACCOUNT
from tests.servers.cluster import UID
from tests.servers.cluster_hub import ClusterHub
from tests.servers.notebooks import notebook

_NOTEBOOK = "three.ipynb"
_CELLS = ("import math", "total = sum(math.sqrt(n) for n in range(1000))", "print(total)")
_HOME = "/home/jovyan"
_BY_RUNNER = ("-P", "-s", "-m", "himalia.runners.notebook", _NOTEBOOK, "--output", "by-hand")
_BY_NBCONVERT = ("-P", "-s", "-m", "nbconvert", "--to", "notebook", "--execute", _NOTEBOOK)
BARE = {
    "bare Job, our runner by hand": _BY_RUNNER,
    "bare Job, nbconvert --execute": (*_BY_NBCONVERT, "--output", "by-nbconvert"),
    "bare Job that does nothing": ("-P", "-s", "-c", "pass"),
}
_STEPS = ("made", "placed", "running", "ended")
_SHOWN = ("pod made", "on its node", "container runs", "pod has ended")
WARM, COLD = "himalia", "himalia, nobody there for the user yet"


@dataclass(kw_only=True)
class Taken:
    """What one way took, over all rounds."""

    total: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)

    def note(self, began: float, ended: float, steps: dict[str, float]) -> None:
        """Take one round."""
        self.total.append(ended - began)
        for name, at in steps.items():
            self.steps.setdefault(name, []).append(at - began)

    def add(self, other: Taken) -> None:
        """Take what another has noted."""
        self.total += other.total
        for name, seconds in other.steps.items():
            self.steps.setdefault(name, []).extend(seconds)

    def at(self, name: str) -> str:
        """Write the median time of a step, if it is known of any round."""
        found = self.steps.get(name)
        return milliseconds(median(found)) if found else ""


class Worker:
    """A user of our hub who has a notebook in their home."""

    def __init__(self, hub: ClusterHub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.space = ""
        self.client = AsyncClient()

    async def come(self) -> Worker:
        """Have a home with the notebook, and a token."""
        made = await self.hub.api("POST", f"users/{self.name}")
        owner = owner_id(self.name, datetime.fromisoformat(made.json()["created"]))
        self.space = namespace(owner, self.hub.prefix)
        answer = await self.hub.namespaces("PUT", f"/{owner}", json={"user": self.name})
        assert answer.status_code == 200, answer.text
        path = self.hub.owned(owner) / _NOTEBOOK
        path.write_text(notebook(*_CELLS))
        os.chown(path, UID, UID)
        token = (await self.hub.api("POST", f"users/{self.name}/tokens", json={})).json()["token"]
        os.environ["HIMALIA_CONTROL_URL"] = self.hub.service
        self.client = AsyncClient(token=token)
        return self

    async def run(self, taken: Taken, stages: Stages, *, counts: bool = True) -> float:
        """Run the notebook as a job; return what the runner itself took."""
        began = time.perf_counter()
        run = await self.client.run(_NOTEBOOK)
        told = {"asked": time.perf_counter()}
        run = await self.client.runs.wait(run.id)
        ended = time.perf_counter()
        assert run.status is Status.SUCCEEDED, run.reason
        assert run.use is not None
        ref = AttemptRef(owner=run.owner, run_id=run.id, attempt=run.attempt)
        assert [one.name for one in await self.client.runs.outputs(run.id)] == [_NOTEBOOK]
        if counts:
            taken.note(began, ended, told | await stages.of(ref.name, "made", "placed", "running"))
        return run.use.wall_seconds


def bare_job(space: str, command: tuple[str, ...], settings: PodSettings) -> dict[str, Any]:
    """Return a Job whose pod is the one of a run, but for the command."""
    ref = AttemptRef(owner="", run_id=new_id("run"), attempt=1)
    plan = RunPlan(
        runner="", task={}, environment="", env={}, resources=Resources(), snapshot_digest=None,
        timeout_seconds=None,
    )  # fmt: skip
    spec = run_pod(ref, plan, settings)["spec"]
    spec["containers"][0]["command"] = [settings.python, *command]
    name = f"bare-{ref.name}"
    # Egress policies select it as they do a run.
    labels = {"app.kubernetes.io/component": "run", "bench": name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "backoffLimit": 0,
            # It goes by itself, with its pod.
            "ttlSecondsAfterFinished": 0,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


async def complete(api: Api, job: dict[str, Any], stages: Stages) -> Taken:
    """Make a Job and wait until it is complete."""
    taken = Taken()
    about = job["metadata"]
    path = f"/apis/batch/v1/namespaces/{about['namespace']}/jobs"
    began = time.perf_counter()
    made = await api.create(path, job)
    query = [("fieldSelector", f"metadata.name={about['name']}")]
    version = str(made["metadata"]["resourceVersion"])
    async with aclosing(api.watch(path, query, version)) as events:
        async for event in events:
            conditions = event["object"].get("status", {}).get("conditions") or ()
            true = {one["type"] for one in conditions if one["status"] == "True"}
            assert "Failed" not in true, json.dumps(event["object"]["status"])
            if "Complete" in true:
                break
    taken.note(began, time.perf_counter(), await stages.of(about["name"], "made", "ended"))
    return taken


async def bare_jobs(hub: ClusterHub, api: Api, stages: Stages, rounds: int) -> None:
    """Measure and print."""
    settings = PodSettings(
        image=hub.cluster.image("session"),
        prefix=hub.prefix,
        service_account=RUN_ACCOUNT,
        claim=CLAIM,
        home=_HOME,
    )
    found = {name: Taken() for name in (WARM, *BARE, COLD)}
    inside: list[float] = []
    worker = await Worker(hub, f"{hub.prefix}-works").come()
    for number in range(rounds + 1):
        counts = number > 0
        names = [WARM, *BARE]
        for name in names if number % 2 else reversed(names):
            if name == WARM:
                inside.append(await worker.run(found[WARM], stages, counts=counts))
            else:
                job = bare_job(worker.space, BARE[name], settings)
                taken = await complete(api, job, stages)
                if counts:
                    found[name].add(taken)
    for number in range(3):
        newcomer = await Worker(hub, f"{hub.prefix}-new{number}").come()
        await newcomer.run(found[COLD], stages)
        await newcomer.client.close()
    await worker.client.close()
    _show(found, inside[1:], rounds)


def _show(found: dict[str, Taken], inside: list[float], rounds: int) -> None:
    table = Table(
        title=f"A notebook of three small cells, medians of {rounds} rounds",
        head=("", "asked → done", "ours: more by", "answered", *_SHOWN),
    )
    ours = median(found[WARM].total)
    for name, taken in found.items():
        total = median(taken.total)
        more = "" if name in {WARM, COLD} else f"{(ours - total) * 1000:+.0f} ms"
        steps = [taken.at(step) for step in ("asked", *_STEPS)]
        table.rows.append((name, milliseconds(total), more, *steps))
    table.show()
    within, nothing = median(inside), median(found["bare Job that does nothing"].total)
    print(
        f"\nIn its pod the runner itself took {milliseconds(within)}: without that a run takes "
        f"{milliseconds(ours - within)}, {(ours - within - nothing) * 1000:+.0f} ms beside the Job "
        "that does nothing."
    )
