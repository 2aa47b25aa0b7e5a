"""The service over pods, for people with namespaces of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typing_extensions import override

from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.backends.base import Backend
from himalia.core.local import LocalService, LocalSettings
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.chart import HelmFailed, Release
from tests.servers.cluster import UID, Cluster, Estate
from tests.servers.cluster_hub import ClusterHub
from tests.servers.notebooks import notebook
from tests.servers.people import Resident
from tests.servers.pods import HOME, pod_backend

PROFILES = """
c.Kubernetes.profiles = [
    {"name": "small", "cpu": 1, "memory": "1Gi", "cpu_guarantee": 0.05, "is_default": True},
    {"name": "huge", "cpu": 900, "memory": "1Gi"},
    {"name": "nowhere", "image": "127.0.0.1:5000/nothing/of-this-name:1", "memory": "1Gi"},
    {"name": "greedy", "memory": "900Gi"},
    {"name": "gold", "memory": "1Gi", "users": ["midas"]},
    {"name": "team", "cpu": 0.5, "memory": "512Mi", "cpu_guarantee": 0.05, "groups": ["staff"],
     "price": "0.10 € an hour"},
]
c.Kubernetes.projects = [{"name": "atlas", "groups": ["atlas"], "readers": ["visitors"]}]
c.Kubernetes.quota = {"pods": "20", "limits.memory": "100Gi"}
"""
FULL = """
def _full(spawner, pod):
    small = {"brim": ("8Mi", "6M"), "near": ("64Mi", "50M")}.get(spawner.user.name)
    if small:
        home = next(one for one in pod.spec.volumes if one.name == "home")
        home.persistent_volume_claim = None
        home.empty_dir = {"medium": "Memory", "sizeLimit": small[0]}
        server = pod.spec.containers[0]
        fill = f"cd; mkdir old; head -c {small[1]} /dev/zero > old/model.bin"
        fill += "; head -c 9M /dev/zero > rest.bin"
        pod.spec.init_containers = [{
            "name": "fill", "image": server.image, "command": ["sh", "-c", f"{fill}; true"],
            "env": [{"name": "HOME", "value": "/home/jovyan"}],
            "securityContext": server.security_context, "volumeMounts": server.volume_mounts,
            "resources": {"requests": {"cpu": "10m", "memory": "80Mi"}},
        }]
    return pod
c.KubeSpawner.modify_pod_hook = _full
"""
"""Two small homes: one that is full, and one that is almost."""


class Tenant(Resident):
    """One of the people, who asks a service whose runs are pods."""

    def __init__(self, estate: Estate, service: LocalService, name: str = "me") -> None:
        self.estate = estate
        self.owner = estate.owner(name)
        self.space = estate.space(self.owner)
        self.home = estate.home(self.owner)
        self.caller = Caller(owner=self.owner, root=Path(HOME), name=name)
        self.service = self._service = service

    @override
    def write(self, *sources: str) -> None:
        self.file("n.ipynb", notebook(*sources))

    def file(self, name: str, text: str) -> None:
        """Write a file into the home, as its owner would."""
        path = self.home / name
        path.write_text(text)
        os.chown(path, UID, UID)

    def pods(self, component: str = "run") -> list[dict[str, Any]]:
        """Return the pods of runs, or of agents, that are there."""
        label = f"app.kubernetes.io/component={component}"
        found: list[dict[str, Any]] = self.estate.cluster.get(
            "pods", "--namespace", self.space, "--selector", label
        )["items"]
        return found


@asynccontextmanager
async def serving(
    parts: tuple[Backend, Agents], folder: Path, **settings: Any
) -> AsyncIterator[LocalService]:
    """Give a service over a backend, whose own state lies in `folder`."""
    backend, agents = parts
    kinds = load_kinds()
    places = Places(home=folder).prepare()
    service = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=backend,
        premises=AgentPremises(agents),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=8, **settings),
    )
    await service.open()
    try:
        yield service
    finally:
        await service.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def me(cluster_estate: Estate, tmp_path_factory: Any) -> AsyncIterator[Tenant]:
    """Somebody with a namespace, before a service."""
    parts = await pod_backend(cluster_estate)
    async with serving(parts, tmp_path_factory.mktemp("control")) as service:
        yield Tenant(cluster_estate, service)


@pytest.fixture(scope="session")
def cluster_hub(cluster: Cluster) -> Iterator[ClusterHub]:
    """A hub on the cluster, for all tests that need one."""
    made = ClusterHub(cluster, PROFILES + FULL)
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="session")
def release(cluster: Cluster, cluster_estate: Estate) -> Iterator[Release]:
    """The chart, installed with its defaults, for all tests that need it so."""
    made = Release(cluster, cluster_estate.export("chart"))
    made.make()
    try:
        try:
            made.put("install")
        except HelmFailed as error:
            raise AssertionError(f"{error}\n{made.troubles()}") from error
        yield made
    finally:
        made.remove()
