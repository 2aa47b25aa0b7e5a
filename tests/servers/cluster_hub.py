"""A hub whose sessions and runs are pods of a real cluster.

Hub, proxy, control and what makes namespaces are processes of this machine, as `tests/servers/hub`
starts them; pods find them at the node's address. Everything that was made in the cluster carries
a prefix of its own, and goes with the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from typing_extensions import override

from himalia.core.names import new_id
from himalia_hub.kubernetes.asking import Namespaces
from tests.servers.cluster import UID, Cluster
from tests.servers.environment import proxy, server_python
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

_SECRETS = ("cookie-secret", "crypt-key", "proxy-token", "control-token")
_SECRETS += ("control-cookies", "namespaces-token")
_CONFIG = """
c.Himalia.platform = "kubernetes"
c.Himalia.secrets = {secrets!r}
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_bind_url = "http://{node}:{hub}"
c.ConfigurableHTTPProxy.should_start = True
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api}"
c.JupyterHub.cleanup_proxy = True
c.Kubernetes.release_namespace = {release!r}
c.Kubernetes.prefix = {prefix!r}
c.Kubernetes.image = {image!r}
c.Kubernetes.home_size = "1Gi"
c.Kubernetes.nfs_server = {nfs_server!r}
c.Kubernetes.nfs_export = {nfs_export!r}
c.Kubernetes.nfs_folder = {nfs_folder!r}
c.Kubernetes.namespaces_url = "http://127.0.0.1:{namespaces}"
c.Kubernetes.control_url = "http://{node}:{control}"
c.Kubernetes.control_port = {control}
c.Kubernetes.sessions_role = "{prefix}-sessions"
c.Kubernetes.runs_role = "{prefix}-runs"
c.Kubernetes.repair_seconds = 2
c.Kubernetes.egress = [{{
    "to": [{{"ipBlock": {{"cidr": "{node}/32"}}}}],
    "ports": [{{"port": {hub}}}, {{"port": {control}}}],
}}]
"""
_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create", "delete"]}


class ClusterHub(Hub):
    """One hub, with a release namespace and a folder of the NFS export of its own."""

    def __init__(self, cluster: Cluster, config: str = "") -> None:
        self.cluster = cluster
        self.kubeconfig = cluster.kubeconfig
        self.prefix = f"s-{new_id('run')[-6:]}"
        self.release = f"{self.prefix}-hub"
        self._mount = Path(tempfile.mkdtemp(prefix=f"himalia-{self.prefix}-", dir="/mnt"))
        self._mount.chmod(0o755)
        self._others: list[subprocess.Popen[bytes]] = []
        where = {name: free_port() for name in ("hub", "proxy_api", "namespaces", "control")}
        self.ports = where
        self._token = secrets.token_hex(32)
        password = secrets.token_urlsafe(12)
        lines = _CONFIG.format(
            **where,
            password=password,
            secrets=f"{self._mount}.secrets",
            url="http://127.0.0.1:PORT",
            node=cluster.node,
            proxy=str(proxy()),
            release=self.release,
            prefix=self.prefix,
            image=cluster.image("session"),
            nfs_server=cluster.nfs_server,
            nfs_export=f"{cluster.nfs_export}/{self.prefix}",
            nfs_folder=str(self._mount / self.prefix),
        )
        super().__init__(config=lines + config, arguments=())
        # What makes namespaces runs under the account that homes belong to, as it does in its pod.
        self.config.chmod(0o644)
        self.password = password

    def prepare(self) -> None:
        """Make in the cluster, and on the export, what its administrator would."""
        cluster, folder = self.cluster, Path(f"{self._mount}.secrets")
        folder.mkdir(mode=0o755)
        for name in _SECRETS:
            value = self._token if name == "namespaces-token" else secrets.token_hex(32)
            (folder / name).write_text(value)
            (folder / name).chmod(0o444)
        where = f"{cluster.nfs_server}:{cluster.nfs_export}"
        subprocess.run(["mount", "-t", "nfs", "-o", "nolock", where, self._mount], check=True)
        export = self._mount / self.prefix
        export.mkdir(mode=0o755)
        os.chown(export, UID, UID)
        for role in ("sessions", "runs"):
            name = {"name": f"{self.prefix}-{role}"}
            rules = [_PODS] if role == "sessions" else [{**_PODS, "resources": ["pods/exec"]}]
            body = {"kind": "ClusterRole", "metadata": name, "rules": rules}
            self._make({"apiVersion": "rbac.authorization.k8s.io/v1", **body})
        self._make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.release}})

    @override
    async def start(self) -> None:
        """Start everything, and wait until the hub and control answer."""
        await asyncio.to_thread(self.prepare)
        self.launch()
        await self.until_ready(f"{self.url}/hub/health")
        await self.until_ready(f"{self.url}/services/himalia/health/ready")
        await self.until_ready(f"http://127.0.0.1:{self.ports['namespaces']}/health/ready")

    async def until_ready(self, url: str) -> None:
        """Wait until an address answers well."""
        end = time.monotonic() + PATIENCE_SECONDS
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url)).status_code == 200:
                        return
                ended = [one.args for one in self._others if one.poll() is not None]
                assert not ended, f"{ended}:\n{self.log()[-4000:]}"
                assert time.monotonic() < end, f"{url}:\n{self.log()[-4000:]}"
                await asyncio.sleep(0.2)

    @override
    def launch(self) -> int:
        """Start the processes without waiting."""
        command = (sys.executable, "-m", "jupyterhub", "-f", str(self.config))
        self._run(*command, env=self.environment())
        self.start_controls()
        self.start_namespaces()
        return 0

    def environment(self) -> dict[str, str]:
        """Return the variables of hub and control."""
        return {
            **os.environ,
            "JUPYTERHUB_API_URL": f"http://{self.cluster.node}:{self.ports['hub']}/hub/api",
            "KUBECONFIG": self.kubeconfig,
        }

    def start_controls(self) -> None:
        """Start control, which is one process here."""
        command = (sys.executable, "-m", "himalia_hub.control", "--config", str(self.config))
        self._run(*command, env=self.environment())

    def start_namespaces(self) -> None:
        """Start what makes namespaces, under the account that homes belong to."""
        kubeconfig = self.folder / "kubeconfig-namespaces"
        shutil.copy(self.kubeconfig, kubeconfig)
        os.chown(kubeconfig, UID, UID)
        kubeconfig.chmod(0o400)
        port = str(self.ports["namespaces"])
        self._run(
            *(str(server_python()), "-m", "himalia_hub.kubernetes", "--config", str(self.config)),
            *("--port", port, "--host", "127.0.0.1"),
            env={"KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"], "HOME": "/tmp"},
            user=UID,
        )

    def _run(
        self, *command: str, env: dict[str, str], user: int | None = None
    ) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=env,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._others.append(process)
        return process

    def _make(self, manifest: dict[str, Any]) -> None:
        self.cluster.kubectl("create", "--filename=-", given=manifest)

    async def namespaces(
        self, method: str, path: str = "", *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """Ask what makes namespaces, as the hub does."""
        url = f"http://127.0.0.1:{self.ports['namespaces']}/namespaces{path}"
        head = {"Authorization": f"Bearer {self._token if token is None else token}"}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.request(method, url, headers=head, **options)

    def asks_for_namespaces(self) -> Namespaces:
        """Return what the hub asks with."""
        return Namespaces(f"http://127.0.0.1:{self.ports['namespaces']}", self._token)

    def owned(self, owner: str) -> Path:
        """Return the home of an owner, as this machine has it mounted."""
        return self._mount / self.prefix / "homes" / owner

    @property
    def export(self) -> Path:
        """The hub's folder of the export, as this machine has it mounted."""
        return self._mount / self.prefix

    @override
    def clear(self) -> None:
        """End everything, and remove what was made: here, and in the cluster."""
        for one in self._others:
            one.terminate()
        for one in self._others:
            try:
                one.wait(40)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        super().clear()
        with contextlib.suppress(AssertionError):
            self._clear_cluster()
        subprocess.run(["umount", self._mount], check=False, capture_output=True)
        shutil.rmtree(f"{self._mount}.secrets", ignore_errors=True)
        with contextlib.suppress(OSError):
            self._mount.rmdir()

    def _clear_cluster(self) -> None:
        label = f"--selector=himalia.io/release={self.release}"
        for space in self.cluster.get("namespaces", label)["items"]:
            name = space["metadata"]["name"]
            at_once = ("--grace-period=0", "--force")
            self.cluster.kubectl("delete", "pods", "--all", "--namespace", name, *at_once)
        self.cluster.kubectl("delete", "namespaces", label, "--wait=false")
        self.cluster.kubectl("delete", "persistentvolumes", label, "--wait=false")
        self.cluster.kubectl("delete", "namespace", self.release, "--wait=false")
        for role in ("sessions", "runs"):
            self.cluster.kubectl("delete", "clusterrole", f"{self.prefix}-{role}")
        shutil.rmtree(self.export, ignore_errors=True)
