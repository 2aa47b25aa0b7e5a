"""Measure control with 5,000 users' namespaces and 20,000 runs: ``make bench-scale``.

Namespaces are made, with all that belongs in them, by the product's reconciler; runs by the
product's service, store and Kubernetes backend, as they are for users. Their pods are on nodes of
KWOK's, where nothing runs, so that a stand-in answers for agents (`fake_agents`). Everything goes
in the end. Fewer: ``make bench-scale ARGS="--users 500"``; ``--watch each`` has a watch for each
user instead of one for all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from kwok import fake_nodes
from table import Table, clock, milliseconds
from typing_extensions import override

from himalia import __version__
from himalia.backends.kubernetes.api import Api
from himalia.core.names import attempt_name, namespace, new_id, owner_id
from himalia_hub.kubernetes.bundle import Tenant
from himalia_hub.kubernetes.cluster import Cluster as Asked
from himalia_hub.kubernetes.reconcile import Reconciler
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.kubernetes.storage import Storage
from tests.servers.cluster import UID, Cluster, found

_AT_ONCE = 8
_END_SECONDS = 3600
_REST_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Estate:
    """All that one measurement makes."""

    cluster: Cluster
    prefix: str
    folder: Path
    owners: list[str]
    runs_each: int

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.owners) * self.runs_each

    def settings(self) -> Kubernetes:
        """Return the settings of a hub of its own, with homes in a folder of this machine."""
        made = Kubernetes()
        made.release_namespace = f"{self.prefix}-hub"
        made.prefix = self.prefix
        made.uid = made.gid = UID
        made.nfs_server, made.nfs_export = self.cluster.nfs_server, self.cluster.nfs_export
        made.nfs_folder = str(self.folder / "homes")
        return made

    def clear(self) -> None:
        """Delete every namespace and volume, and wait until they are gone."""
        label = f"--selector=himalia.io/release={self.prefix}-hub"
        for kind in ("namespaces", "persistentvolumes"):
            self.cluster.kubectl("delete", kind, label, "--wait=false", "--ignore-not-found")
        until = time.monotonic() + _END_SECONDS
        while self.cluster.kubectl("get", "namespaces", label, "--output=name"):
            if time.monotonic() > until:
                raise TimeoutError("namespaces do not go")
            time.sleep(5)


class Asking(Asked):
    """Counts what is asked for namespaces."""

    counts: Counter[str] = Counter()

    @override
    async def _ask(self, method: str, path: str, *rest: Any, **more: Any) -> dict[str, Any]:
        self.counts[method] += 1
        return await super()._ask(method, path, *rest, **more)


class Hand(Api):
    """Does to pods what a node would."""

    async def evict(self, space: str, name: str) -> float:
        """Say that a pod's machine gave it up; return when that was said."""
        path = f"/api/v1/namespaces/{space}/pods/{name}/status"
        status = {"phase": "Failed", "reason": "Evicted", "message": "by the benchmark"}
        began = time.perf_counter()
        await self._ask("PATCH", path, (), {"status": status})
        return began

    @override
    async def _headers(self) -> Mapping[str, str]:
        return {**await super()._headers(), "Content-Type": "application/merge-patch+json"}


class Control:
    """The process that follows the runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, do: str, *words: Any) -> dict[str, Any]:
        """Have it do something."""
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        writer.write(json.dumps([do, *words]).encode() + b"\n")
        answer = await reader.readline()
        if not answer:
            raise RuntimeError("control ended")
        said: dict[str, Any] = json.loads(answer)
        return said


@asynccontextmanager
async def control(estate: Estate, watch: str) -> AsyncIterator[Control]:
    """Start the process; it ends with the context."""
    plan = {
        "kubeconfig": estate.cluster.kubeconfig,
        "prefix": estate.prefix,
        "runs_each": estate.runs_each,
        "at_most": 2 * estate.runs,
        "is_watching_all": watch == "all",
    }
    with (estate.folder / "control.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("watcher.py"))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            limit=2**26,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan).encode() + b"\n")
    assert process.stdout is not None
    json.loads(await process.stdout.readline())
    try:
        yield Control(process)
    finally:
        process.stdin.close()
        await process.wait()


async def make_namespaces(estate: Estate) -> None:
    """Make everybody's namespace, and print what that took."""
    cluster = await Asking.connect()
    settings = estate.settings()
    reconciler = Reconciler(settings, cluster, Storage(settings, cluster, retired_days=1))
    taken: list[float] = []
    turns = asyncio.Semaphore(_AT_ONCE)

    async def make(owner: str) -> None:
        async with turns:
            began = time.perf_counter()
            await reconciler.ensure(Tenant(owner=owner, user=owner))
            taken.append(time.perf_counter() - began)

    with clock() as seconds:
        await asyncio.gather(*(make(owner) for owner in estate.owners))
        rate = len(estate.owners) / seconds()
    await reconciler.close()
    await cluster.close()
    calls = sum(Asking.counts.values()) / len(estate.owners)
    table = Table(
        title=f"{len(estate.owners):,} namespaces, {_AT_ONCE} at a time",
        head=("each second", "median of one", "p99", "API calls for each"),
    )
    table.rows.append((f"{rate:.1f}", part(taken, 0.5), part(taken, 0.99), f"{calls:.1f}"))
    table.show()


def part(values: list[float], share: float) -> str:
    """Write the value below which a share of them lies."""
    ordered = sorted(values)
    return milliseconds(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


async def follow(estate: Estate, watch: str, sample: int) -> None:
    """Have control make and follow runs, and print what that takes."""
    async with control(estate, watch) as ours:
        empty = await ours.ask("look")
        with clock() as seconds:
            runs = (await ours.ask("make", estate.owners))["runs"]
            await until_on(ours, estate.runs)
            made_seconds = seconds()
        full = await ours.ask("look")
        await asyncio.sleep(_REST_SECONDS)
        rested = await ours.ask("look")
        with clock() as seconds:
            delays = await react(estate, ours, runs, sample)
            react_seconds = seconds()
        last = await ours.ask("look")
    table = Table(
        title=f"Control with {estate.runs:,} runs of {len(estate.owners):,} users, "
        + ("one watch for all" if watch == "all" else "a watch for each user"),
        head=("", "", "goal"),
    )
    share = (rested["cpu"] - full["cpu"]) / _REST_SECONDS
    table.rows += [
        ("memory (RSS) before", _megabytes(empty["rss"]), ""),
        ("memory with all runs on", _megabytes(rested["rss"]), "< 1000 MB"),
        ("connections to the API server", str(rested["connections"]), ""),
        ("CPU of one core, nothing happening", f"{share * 100:.0f} %", ""),
        ("runs made and on", f"{estate.runs / made_seconds:.0f} a second", ""),
        (f"a pod's end → written, median of {len(delays)}", part(delays, 0.5), ""),
        ("the same, p99", part(delays, 0.99), "< 2 s"),
        ("the same, longest", milliseconds(max(delays)), ""),
        ("ends a second meanwhile", f"{len(delays) / react_seconds:.1f}", ""),
    ]
    table.show()
    show_calls(estate, full["calls"], rested["calls"], last["calls"], len(delays))


async def until_on(ours: Control, runs: int) -> None:
    """Wait until all runs are on."""
    until = time.monotonic() + _END_SECONDS
    while (seen := await ours.ask("look"))["running"] < runs:
        if time.monotonic() > until:
            raise TimeoutError(f"only {seen['running']} of {runs} runs are on")
        await asyncio.sleep(2)


async def react(
    estate: Estate, ours: Control, runs: dict[str, list[str]], sample: int
) -> list[float]:
    """End pods here and there; return how long it took until control had written it down."""
    hand = await Hand.connect(Path(estate.cluster.kubeconfig))
    some = [(owner, run) for owner, ids in runs.items() for run in ids]
    began: dict[str, float] = {}
    for owner, run in random.sample(some, min(sample, len(some))):
        space = namespace(owner, estate.prefix)
        began[run] = await hand.evict(space, attempt_name(run, 1))
        await asyncio.sleep(random.uniform(0, 0.2))
    await hand.close()
    async with asyncio.timeout(_END_SECONDS):
        while True:
            noted = (await ours.ask("noted"))["noted"]
            if noted.keys() >= began.keys():
                return [noted[run] - at for run, at in began.items()]
            await asyncio.sleep(1)


def show_calls(
    estate: Estate, full: dict[str, int], rested: dict[str, int], last: dict[str, int], ends: int
) -> None:
    """Print what was asked of the API server."""
    table = Table(
        title="Requests to the API server",
        head=("", "for each run until all are on", "in 30 s of rest", "for each lost pod"),
    )
    for verb in ("create", "delete", "get", "list", "watch"):
        one, two, three = (counts.get(verb, 0) for counts in (full, rested, last))
        lost = (three - two) / ends
        table.rows.append((verb, f"{one / estate.runs:.2f}", str(two - one), f"{lost:.2f}"))
    table.show()


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.0f} MB"


def measure(estate: Estate, chosen: argparse.Namespace) -> None:
    """Make everything, measure, and let everything go."""
    log = estate.folder / "kwok.log"
    with fake_nodes(estate.cluster, estate.prefix, 2 * estate.runs, log):
        try:
            asyncio.run(make_namespaces(estate))
            asyncio.run(follow(estate, chosen.watch, chosen.sample))
        finally:
            with clock() as seconds:
                estate.clear()
                print(f"\nAll namespaces were gone after {seconds():.0f} s.", flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--runs-each", type=int, default=4)
    parser.add_argument("--watch", choices=("all", "each"), default="all")
    parser.add_argument("--sample", type=int, default=500, help="pods that are ended")
    chosen = parser.parse_args()
    cluster = found()
    if cluster is None:
        raise SystemExit("There is no cluster: see docs/how-to/kubernetes.md.")
    memory = psutil.virtual_memory().total / 2**30
    arguments = f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""
    print(
        f"`make -s bench-scale{arguments}`, {datetime.now(UTC):%Y-%m-%d}, himalia {__version__}, "
        f"Python {platform.python_version()}, cluster and control on one machine of "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start.",
        flush=True,
    )
    # Whoever ends this early has it all cleared away too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    prefix = f"k-{new_id('run')[-6:]}"
    folder = Path(tempfile.mkdtemp(prefix="himalia-bench-"))
    names = [owner_id(f"user-{number}", datetime.now(UTC)) for number in range(chosen.users)]
    estate = Estate(
        cluster=cluster, prefix=prefix, folder=folder, owners=names, runs_each=chosen.runs_each
    )
    try:
        with clock() as seconds:
            measure(estate, chosen)
            print(f"\nTaken in {seconds():.0f} s, load {os.getloadavg()[0]:.1f} at the end.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
