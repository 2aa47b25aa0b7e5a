"""Several controls over one PostgreSQL and one cluster: processes that tests kill, and a way to the
API server that tests cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from himalia.core.names import namespace, owner_id
from tests.servers.cluster import UID, Cluster
from tests.servers.cluster_hub import ClusterHub
from tests.servers.notebooks import notebook
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

HOME = "/home/jovyan"
ENDS = frozenset({"succeeded", "failed", "stopped", "skipped"})
_STATE = "TESTS_STATE_OF_CONTROL"
_CONFIG = f"""
import os
c.Himalia.state = os.environ.get({_STATE!r}, c.Himalia.state)
c.Himalia.store_url = {{store!r}}
c.Kubernetes.profiles = [
    {{{{"name": "small", "cpu": 2, "memory": "1Gi", "cpu_guarantee": 0.02,
        "memory_guarantee": "128Mi", "is_default": True}}}},
]
"""
"""Each control has a folder of its own, as in a pod. Runs come up on a full machine too."""
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class OneControl:
    """A process, and where it listens."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}/services/himalia/"


class Crew(ClusterHub):
    """A hub with several controls, whose only way to the API server is `address`."""

    def __init__(self, cluster: Cluster, *, store: str, address: str, size: int) -> None:
        super().__init__(cluster, _CONFIG.format(store=store))
        self.size = size
        self.controls: list[OneControl] = []
        kubeconfig = self.folder / "kubeconfig"
        kubeconfig.write_text(cluster.kubeconfig_by(address))
        self.kubeconfig = str(kubeconfig)

    @override
    def start_controls(self) -> None:
        """Start as many as there should be; the hub's proxy leads to the first."""
        ports = [self.ports["control"], *(free_port() for _ in range(self.size - 1))]
        self.controls = [self._control(port) for port in ports]

    def _control(self, port: int) -> OneControl:
        state = self.folder / f"control-{port}"
        command = (sys.executable, "-m", "himalia_hub.control", "--config", str(self.config))
        environment = {**self.environment(), _STATE: str(state)}
        process = self._run(*command, "--port", str(port), env=environment)
        return OneControl(process=process, port=port)

    async def until_all_ready(self) -> None:
        """Wait until each control can work."""
        for one in self.controls:
            await self.until_ready(f"{one.url}health/ready")

    def replace(self, number: int, *, is_new: bool) -> None:
        """Kill one at once, and start another: a new one, or the same as after a crash.

        As in a cluster the same one keeps its name, and a new one has another.
        """
        old = self.controls[number]
        old.process.kill()
        old.process.wait()
        self._others.remove(old.process)
        self.controls[number] = self._control(free_port() if is_new else old.port)

    @property
    def ended(self) -> list[object]:
        """Which processes ended though nobody killed them."""
        return [one.args for one in self._others if one.poll() is not None]


class Member:
    """A user of a crew's hub, who asks whichever control answers, again under the same key until
    one has.
    """

    def __init__(self, crew: Crew, name: str, *, owner: str, token: str) -> None:
        self.name, self.owner = name, owner
        self.space = namespace(self.owner, crew.prefix)
        self.refusals: Counter[str] = Counter()
        """How often it was told to ask later, by the words."""
        self._crew = crew
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"token {token}"}, timeout=30, trust_env=False
        )

    @classmethod
    async def make(cls, crew: Crew, name: str) -> Member:
        """Make a user with a home."""
        made = (await crew.api("POST", f"users/{name}")).json()
        token = (await crew.api("POST", f"users/{name}/tokens", json={})).json()["token"]
        owner = owner_id(made["name"], datetime.fromisoformat(made["created"]))
        member = cls(crew, name, owner=owner, token=token)
        await member.ask("GET", "environments")
        return member

    @property
    def home(self) -> Path:
        """The home, as this machine has it mounted."""
        return self._crew.owned(self.owner)

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook as its owner would; return its path in pods."""
        path = self.home / name
        path.write_text(notebook(*cells))
        os.chown(path, UID, UID)
        return f"{HOME}/{name}"

    async def once(
        self, method: str, path: str, *, at: OneControl | None = None, **options: Any
    ) -> httpx.Response:
        """Ask one control once (:raises httpx.TransportError: it is not there)."""
        url = (at or random.choice(self._crew.controls)).url
        return await self._http.request(method, f"{url}api/{path}", **options)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Ask until there is an answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await self.once(method, path, **options)
                    if answer.is_success:
                        return answer.json() if answer.content else None
                    assert answer.status_code == 503, answer.text[:500]
                    self.refusals[answer.json()["error"]["message"]] += 1
                await asyncio.sleep(_AGAIN_SECONDS)

    async def submit(self, notebook: str, *, key: str, **spec: Any) -> Any:
        """Make a job that runs, in a small pod unless it says otherwise; return it."""
        if "resources" not in spec:
            spec["profile"] = "small"
        body = {"name": key, "spec": {"notebook": notebook, **spec}}
        return await self.ask("POST", "jobs", json=body, headers={"Idempotency-Key": key})

    async def run(self, run_id: str) -> Any:
        """Return a run as it is now."""
        return await self.ask("GET", f"runs/{run_id}")

    async def until(self, run_id: str, *statuses: str) -> Any:
        """Wait until a run has one of these statuses; it may not end otherwise."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (run := await self.run(run_id))["status"] not in statuses:
                assert run["status"] not in ENDS, run
                await asyncio.sleep(_AGAIN_SECONDS)
            return run

    async def ended(self, run_id: str) -> Any:
        """Wait for the end of a run."""
        return await self.until(run_id, *ENDS)

    def pods(self) -> list[str]:
        """Return the names of the pods of runs that are there."""
        label = "--selector=app.kubernetes.io/component=run"
        found = self._crew.cluster.get("pods", "--namespace", self.space, label)["items"]
        return [pod["metadata"]["name"] for pod in found]

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()
