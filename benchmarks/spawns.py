"""Sessions at a plain hub with KubeSpawner and at one with Himalia, on one cluster.

Both hubs are processes of this machine, as the tests start them, with the same image, the same
program in it and homes on the same NFS export. The plain one starts everybody in one namespace,
with a volume that was made and bound before; ours makes namespace, volume, claim, accounts, limits
and policies when somebody comes for the first time.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from stages import Stages
from table import Table, median, milliseconds
from typing_extensions import override

from himalia.core.names import owner_id
from tests.servers.cluster import UID
from tests.servers.cluster_hub import ClusterHub
from tests.servers.environment import proxy
from tests.servers.hub import TOKEN, Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

OURS = """
c.Kubernetes.repair_seconds = 600
c.JupyterHub.tornado_settings["slow_spawn_timeout"] = 300
"""
_PLAIN = """
c = get_config()
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers"]}}
]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 300}}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://{node}:{hub}"
c.JupyterHub.db_url = "sqlite:///plain.sqlite"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api}"
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.KubeSpawner.namespace = {namespace!r}
c.KubeSpawner.image = {image!r}
c.KubeSpawner.cmd = ["/opt/himalia/bin/python", "-P", "-s", "-m", "jupyterhub.singleuser"]
c.KubeSpawner.uid = c.KubeSpawner.gid = c.KubeSpawner.fs_gid = {uid}
c.KubeSpawner.working_dir = "/home/jovyan"
c.KubeSpawner.environment = {{"HOME": "/home/jovyan"}}
c.KubeSpawner.storage_pvc_ensure = False
c.KubeSpawner.volumes = [
    {{"name": "home", "persistentVolumeClaim": {{"claimName": "home-{{username}}"}}}},
    {{"name": "tmp", "emptyDir": {{}}}},
]
c.KubeSpawner.volume_mounts = [
    {{"name": "home", "mountPath": "/home/jovyan"}}, {{"name": "tmp", "mountPath": "/tmp"}},
]
"""
_PAUSE_SECONDS = 1.0
_STEPS = ("made", "placed", "running", "ready")


class PlainHub(Hub):
    """A JupyterHub with KubeSpawner as it comes."""

    def __init__(self, beside: ClusterHub) -> None:
        super().__init__()
        self._beside = beside
        self._cluster = beside.cluster
        self.namespace = f"{beside.prefix}-plain"
        self.config.write_text(
            _PLAIN.format(
                token=TOKEN,
                port=self.port,
                hub=free_port(),
                proxy_api=free_port(),
                node=self._cluster.node,
                proxy=str(proxy()),
                namespace=self.namespace,
                image=self._cluster.image("session"),
                uid=UID,
            )
        )

    @override
    async def start(self) -> None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        self._cluster.kubectl("create", "--filename=-", given=space)
        self.launch()
        await self._beside.until_ready(f"{self.url}/hub/health")

    @override
    def launch(self) -> int:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(self.config)],
                cwd=self.folder,
                env={**os.environ, "KUBECONFIG": self._cluster.kubeconfig},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return 0

    def furnish(self, user: str) -> None:
        """Make a user's volume and its claim, and wait until they are bound."""
        folder = self._beside.export / "plain" / user
        folder.mkdir(parents=True)
        os.chown(folder, UID, UID)
        name, size = f"{self.namespace}-{user}", {"storage": "1Gi"}
        both: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        claim = {"name": f"home-{user}", "namespace": self.namespace}
        path = f"{self._cluster.nfs_export}/{self._beside.prefix}/plain/{user}"
        labels = {"himalia.io/release": self._beside.release}
        volume = {
            **both,
            "capacity": size,
            "claimRef": claim,
            "nfs": {"server": self._cluster.nfs_server, "path": path},
        }
        wanted = {**both, "volumeName": name, "resources": {"requests": size}}
        items = [
            _core("PersistentVolume", {"name": name, "labels": labels}, volume),
            _core("PersistentVolumeClaim", claim, wanted),
        ]
        made = {"apiVersion": "v1", "kind": "List", "items": items}
        self._cluster.kubectl("create", "--filename=-", given=made)
        bound = ("--for=jsonpath={.status.phase}=Bound", f"--timeout={PATIENCE_SECONDS:.0f}s")
        self._cluster.kubectl("wait", *bound, "--namespace", self.namespace, f"pvc/home-{user}")

    @override
    def clear(self) -> None:
        super().clear()
        at_once = ("--grace-period=0", "--force")
        self._cluster.kubectl("delete", "pods", "--all", "--namespace", self.namespace, *at_once)
        self._cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")


@dataclass(kw_only=True)
class Side:
    """One way to start a session, and how long each step took from the request on."""

    hub: Hub
    name: str
    starts: list[dict[str, float]] = field(default_factory=list)

    async def start(self, user: str, stages: Stages, *, counts: bool = True) -> None:
        """Start a user's server, wait until it is ready, stop it, wait until it is gone."""
        head = {"Authorization": f"token {TOKEN}"}
        async with httpx.AsyncClient(
            base_url=f"{self.hub.url}/hub/api/", headers=head, trust_env=False, timeout=300
        ) as http:
            known = await http.get(f"users/{user}")
            if known.status_code == 404:
                (await http.post(f"users/{user}")).raise_for_status()
            began = time.perf_counter()
            answer = await http.post(f"users/{user}/server")
            ready = time.perf_counter()
            assert answer.status_code == 201, (answer.text, self.hub.log()[-3000:])
            pod = await stages.of(f"jupyter-{user}", "running")
            if counts:
                times = {**pod, "ready": ready}
                self.starts.append({step: times[step] - began for step in _STEPS})
            # Nothing else tells.
            while (await http.delete(f"users/{user}/server")).status_code != 204:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            while (await http.get(f"users/{user}")).json()["servers"]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    def step(self, name: str) -> float:
        """Return the median time until a step."""
        return median([one[name] for one in self.starts])


def _core(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}


@contextmanager
def cleared(hub: Hub) -> Iterator[None]:
    """See that a hub goes, whatever happens."""
    try:
        yield
    finally:
        hub.clear()


@asynccontextmanager
async def plain_beside(ours: ClusterHub) -> AsyncIterator[PlainHub]:
    """Give a plain hub that starts its sessions on the same cluster."""
    plain = PlainHub(ours)
    with cleared(plain):
        await plain.start()
        yield plain


async def spawns(ours: ClusterHub, stages: Stages, rounds: int) -> None:
    """Measure and print."""
    async with plain_beside(ours) as hub:
        plain = Side(hub=hub, name="plain KubeSpawner")
        first = Side(hub=ours, name="himalia, first start of a user")
        later = Side(hub=ours, name="himalia, later starts")
        asked: dict[str, list[float]] = {"first": [], "later": []}
        for number in range(rounds + 1):
            # The first round is for what is made once in a hub's life.
            user, counts = f"{ours.prefix}-{number}", number > 0
            hub.furnish(user)
            turns = (plain, first, later, plain) if number % 2 else (first, plain, plain, later)
            for side in turns:
                await side.start(user, stages, counts=counts)
            await _ask(ours, f"{user}-asked", asked, counts=counts)
    _show((plain, first, later), rounds)
    table = Table(
        title="Of that, what makes namespaces is asked for, by itself",
        head=("", "median", "goal"),
    )
    for name, goal in (("first", "300 ms"), ("later", "50 ms")):
        table.rows.append((f"{name} time", milliseconds(median(asked[name])), goal))
    table.show()


async def _ask(ours: ClusterHub, user: str, asked: dict[str, list[float]], *, counts: bool) -> None:
    """Ask for a namespace as the hub does, for the first time and again."""
    owner = owner_id(user, datetime.now(UTC))
    namespaces = ours.asks_for_namespaces()
    for name in ("first", "later", "later"):
        began = time.perf_counter()
        await namespaces.ensure(owner, user)
        taken = time.perf_counter() - began
        if counts:
            asked[name].append(taken)
        await asyncio.sleep(_PAUSE_SECONDS)
    await namespaces.close()


def _show(sides: tuple[Side, ...], rounds: int) -> None:
    table = Table(
        title=f"Sessions: from the request to the hub, medians of {rounds} rounds",
        head=(
            "",
            "pod made",
            "on its node",
            "container runs",
            "ready",
            "more: made",
            "more: ready",
        ),
    )
    plain = sides[0]
    for side in sides:
        times = [milliseconds(side.step(name)) for name in _STEPS]
        more = [side.step(name) - plain.step(name) for name in ("made", "ready")]
        less = ["", ""] if side is plain else [f"{value * 1000:+.0f} ms" for value in more]
        table.rows.append((side.name, *times, *less))
    table.show()
