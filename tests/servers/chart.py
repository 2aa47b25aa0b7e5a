"""The chart, rendered by helm and installed on a cluster."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from himalia.core.names import new_id
from tests.servers.cluster import ROOT, Cluster

CHART = ROOT / "helm" / "himalia"
PRESETS = sorted(CHART.glob("presets/*.yaml"))
_SECONDS = 600

Object = dict[str, Any]


class HelmFailed(Exception):
    """Helm refused; the text is its own."""


def helm(*words: str, given: object = None) -> str:
    """Run helm; `given` are values, on its standard input.

    :raises HelmFailed: it ended with an error.
    """
    program = shutil.which("helm")
    assert program is not None, "These tests need helm on the PATH."
    values = [] if given is None else ["--values", "-"]
    done = subprocess.run(
        [program, *words, *values],
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise HelmFailed(done.stdout + done.stderr)
    return done.stdout


def render(values: object = None, *words: str) -> list[Object]:
    """Return the chart's objects, as they would be without a cluster."""
    given = {} if values is None else values
    text = helm("template", "himalia", str(CHART), "--namespace", "team", *words, given=given)
    return [one for one in yaml.safe_load_all(text) if one]


def of_kind(objects: Sequence[Object], *kinds: str) -> dict[str, Object]:
    """Return objects by name."""
    return {one["metadata"]["name"]: one for one in objects if one["kind"] in kinds}


def pods(objects: Sequence[Object]) -> dict[str, Object]:
    """Return what pods the objects make, as pods."""
    found = of_kind(objects, "Pod")
    for name, one in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet").items():
        template = one["spec"]["template"]
        metadata = {**template["metadata"], "name": name}
        spec = dict(template["spec"])
        for claim in one["spec"].get("volumeClaimTemplates", ()):
            volume = {"name": claim["metadata"]["name"], "emptyDir": {}}
            spec["volumes"] = [*spec["volumes"], volume]
        found[metadata["name"]] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": spec,
        }
    return found


@contextmanager
def strict_namespace(cluster: Cluster) -> Iterator[str]:
    """Give a namespace that lets in nothing but what the strictest profile allows."""
    name = f"t-chart-{new_id('run')[-6:]}"
    labels = {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
    }
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("create", "--filename=-", given=made)
    try:
        yield name
    finally:
        cluster.kubectl("delete", f"namespace/{name}", "--wait=false")


def image_values(cluster: Cluster) -> Object:
    """Return values that name the images which were built here."""

    def image(name: str) -> Object:
        address, _, digest = cluster.image(name).partition("@")
        return {"image": {"name": address, "digest": digest}}

    return {
        "hub": image("control"),
        "proxy": image("proxy"),
        "database": image("database"),
        "singleuser": image("session"),
    }


def merged(one: Object, other: Object) -> Object:
    """Return values with others put into them, at every depth."""
    made = dict(one)
    for name, value in other.items():
        are_both = isinstance(made.get(name), dict) and isinstance(value, dict)
        made[name] = merged(made[name], value) if are_both else value
    return made


class Release:
    """The chart, installed for one hub of its own."""

    def __init__(self, cluster: Cluster, export: str) -> None:
        self.cluster = cluster
        self.namespace = f"t-hub-{new_id('run')[-6:]}"
        self.name = "team"
        self._values = merged(
            image_values(cluster),
            {
                # As other hubs may be there too.
                "namespaces": {"prefix": self.namespace},
                "proxy": {"service": {"type": "NodePort"}},
                "singleuser": {
                    "storage": {
                        "type": "nfs",
                        "capacity": "1Gi",
                        "nfs": {"server": cluster.nfs_server, "export": export},
                    }
                },
            },
        )

    def put(self, verb: str, more: Object | None = None) -> str:
        """Install or upgrade, and wait until all is ready; return what helm says."""
        values = merged(self._values, more or {})
        wait = ("--wait", "--timeout", f"{_SECONDS - 60}s")
        return self.helm(verb, self.name, str(CHART), *wait, given=values)

    def helm(self, *words: str, given: object = None) -> str:
        """Run helm on the release's cluster and namespace."""
        where = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", self.namespace)
        return helm(*words, *where, given=given)

    def get(self, *words: str) -> Any:
        """Return what is in the release's namespace."""
        return self.cluster.get(*words, "--namespace", self.namespace)

    def secrets(self) -> dict[str, dict[str, str]]:
        """Return the secrets that are made once, by their names."""
        found = self.get("secret", "himalia", "himalia-database")["items"]
        return {one["metadata"]["name"]: one["data"] for one in found}

    def secret(self, name: str) -> str:
        """Return one of them, as its reader gets it."""
        return base64.b64decode(self.get("secret", "himalia")["data"][name]).decode()

    def authority(self) -> dict[str, str]:
        """Return the release's authority, but for when it gave its last certificates."""
        found = self.get("secret", "himalia-tls-authority")["data"]
        return {name: found[name] for name in ("ca.crt", "ca.key")}

    def certificates(self) -> dict[str, str]:
        """Return the certificates of all parts, by their Secrets' names."""
        return {
            one["metadata"]["name"]: one["data"]["tls.crt"]
            for one in self.get("secrets")["items"]
            if one["type"] == "kubernetes.io/tls"
        }

    def certificate(self, part: str, folder: Path) -> Path:
        """Write what a part has into a folder."""
        folder.mkdir(exist_ok=True)
        for name, content in self.get("secret", f"himalia-tls-{part}")["data"].items():
            (folder / name).write_bytes(base64.b64decode(content))
        return folder

    @property
    def url(self) -> str:
        """The hub's address for this machine."""
        ports = self.get("service", "proxy-public")["spec"]["ports"]
        return f"http://{self.cluster.node}:{ports[0]['nodePort']}"

    @property
    def password(self) -> str:
        """What everybody logs in with."""
        return self.secret("login-password")

    def home(self, user: str) -> str:
        """Return the address of a user's server."""
        return f"{self.url}/user/{user}/"

    def users(self) -> list[str]:
        """Return the names of users' namespaces."""
        chosen = ("--selector", f"himalia.io/release={self.namespace}")
        return [one["metadata"]["name"] for one in self.cluster.get("namespaces", *chosen)["items"]]

    def session(self, user: str) -> Object:
        """Return the pod of a user's session."""
        chosen = ("--selector", "app.kubernetes.io/component=session", "--all-namespaces")
        pods = self.cluster.get("pods", *chosen)["items"]
        (one,) = [
            pod
            for pod in pods
            if pod["metadata"]["namespace"].startswith(f"{self.namespace}-{user}-")
        ]
        return dict(one)

    def make(self) -> None:
        """Make the namespace, which lets in only what the strictest profile allows."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": labels}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.cluster.kubectl("create", "--filename=-", given=made)

    def remove(self) -> None:
        """Take all of it away, users' namespaces and volumes with it."""
        with suppress(HelmFailed):
            self.helm("uninstall", self.name)
        chosen = ("--selector", f"himalia.io/release={self.namespace}", "--wait=false")
        self.cluster.kubectl("delete", "namespace", *chosen)
        self.cluster.kubectl("delete", "persistentvolume", *chosen)
        self.cluster.kubectl("delete", f"namespace/{self.namespace}", "--wait=false")

    def troubles(self) -> str:
        """Return what there is to read when something did not come up."""
        where = ("--namespace", self.namespace)
        pods = self.cluster.kubectl("get", "pods", *where)
        logs = self.cluster.kubectl(
            *("logs", "--selector", "app.kubernetes.io/name=himalia", "--tail=40", "--prefix"),
            *where,
        )
        return f"{pods}\n{logs}"
