"""Measure sessions and jobs on a cluster beside plain KubeSpawner and bare Jobs.

``make bench-kubernetes``. All in one run, on the cluster that ``KUBECONFIG`` leads to, with one
image: rounds of ours and theirs take turns, and medians are over rounds. Everything is printed as
Markdown. Sections can be named: ``make bench-kubernetes ARGS="sessions --rounds 3"``.

(Not ``kubernetes.py``: a program's own folder comes first where Python looks for libraries.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
from bare_jobs import bare_jobs
from spawns import OURS, cleared, spawns
from stages import Stages
from table import clock

from himalia import __version__
from himalia.backends.kubernetes.api import Api
from tests.servers.cluster import found
from tests.servers.cluster_hub import ClusterHub

SECTIONS = ("sessions", "jobs")


async def measure(hub: ClusterHub, sections: list[str], rounds: int) -> None:
    """Measure what was named."""
    api = await Api.connect(Path(hub.cluster.kubeconfig))
    try:
        await hub.start()
        stages = Stages(hub.prefix)
        async with stages.following(api):
            if "sessions" in sections:
                await spawns(hub, stages, rounds)
            if "jobs" in sections:
                await bare_jobs(hub, api, stages, rounds)
    finally:
        await api.close()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    cluster = found()
    if cluster is None:
        raise SystemExit("There is no cluster: see docs/how-to/kubernetes.md.")
    memory = psutil.virtual_memory().total / 2**30
    arguments = f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""
    version = json.loads(cluster.kubectl("get", "--raw=/version"))["gitVersion"]
    print(
        f"`make -s bench-kubernetes{arguments}`, {datetime.now(UTC):%Y-%m-%d}, himalia "
        f"{__version__}, Kubernetes {version} of one node on the same machine, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {memory:.0f} GiB, load "
        f"{os.getloadavg()[0]:.1f} at the start.",
        flush=True,
    )
    # Whoever ends this early ends the hubs too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    hub = ClusterHub(cluster, OURS)
    with cleared(hub), clock() as seconds:
        asyncio.run(measure(hub, chosen.sections or list(SECTIONS), chosen.rounds))
        print(f"\nTaken in {seconds():.0f} s, load {os.getloadavg()[0]:.1f} at the end.")


if __name__ == "__main__":
    main()
