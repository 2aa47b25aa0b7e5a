"""A real cluster for tests: any that a kubeconfig leads to, with what tests need to know of it.

Where there is none, the tests that need one are left out as a whole, and the run says so at its
end. ``docs/how-to/kubernetes.md`` tells how to come by one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from himalia.core.names import namespace, new_id, owner_id
from tests.servers.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDS_ONE = ("tests/kubernetes",)
"""Folders of tests that are left out without a cluster."""
_VARIABLES = {
    "kubeconfig": "KUBECONFIG",
    "registry": "HIMALIA_TEST_REGISTRY",
    "pod_registry": "HIMALIA_TEST_POD_REGISTRY",
    "nfs_server": "HIMALIA_TEST_NFS_SERVER",
    "nfs_export": "HIMALIA_TEST_NFS_EXPORT",
    "node": "HIMALIA_TEST_NODE_IP",
}
UID = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How to get at it, from this machine and from its pods."""

    kubeconfig: str
    registry: str
    """Where images are pushed to, and what nodes know it as."""
    pod_registry: str
    """The same, as pods reach it."""
    nfs_server: str
    nfs_export: str
    node: str
    """An address of a node, for ports that it opens."""

    def image(self, name: str) -> str:
        """Return an image that ``make images`` built, by digest."""
        given = os.environ.get(f"HIMALIA_TEST_{name.upper()}_IMAGE")
        if given:
            return given
        built: dict[str, str] = json.loads((ROOT / ".venv" / "images.json").read_text())
        return built[name]

    def kubectl(self, *words: str, given: object = None) -> str:
        """Ask the cluster's own client; `given` goes to its standard input as JSON."""
        program = shutil.which("kubectl")
        assert program is not None, "These tests need kubectl on the PATH."
        done = subprocess.run(
            [program, "--kubeconfig", self.kubeconfig, *words],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def server(self) -> str:
        """The address of the API server."""
        config = json.loads(self.kubectl("config", "view", "--output=json"))
        return str(config["clusters"][0]["cluster"]["server"])

    def kubeconfig_by(self, address: str) -> str:
        """Return the kubeconfig with another address that leads to the same server."""
        config = json.loads(self.kubectl("config", "view", "--raw", "--output=json"))
        about = config["clusters"][0]["cluster"]
        name = urlsplit(about["server"]).hostname
        about.update({"server": address, "tls-server-name": about.get("tls-server-name") or name})
        return json.dumps(config)

    def get(self, *words: str) -> Any:
        """Return what ``kubectl get`` finds."""
        return json.loads(self.kubectl("get", *words, "--output=json"))


@cache
def found() -> Cluster | None:
    """Return the cluster that the variables lead to."""
    values = {name: os.environ.get(variable, "") for name, variable in _VARIABLES.items()}
    return Cluster(**values) if all(values.values()) else None


class Estate:
    """Namespaces with homes on NFS, as the service makes them, and gone after the tests."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.prefix = f"t-{new_id('run')[-6:]}"
        self._mount = Path(tempfile.mkdtemp(prefix=f"himalia-{self.prefix}-", dir="/mnt"))
        where = f"{cluster.nfs_server}:{cluster.nfs_export}"
        _do("mount", "-t", "nfs", "-o", "nfsvers=3,nolock", where, str(self._mount))
        self._folder = self._mount / self.prefix
        self._folder.mkdir(mode=0o755)
        self._made: dict[str, str] = {}

    def owner(self, name: str = "me") -> str:
        """Return an owner with a namespace and a home, which are made when first asked for."""
        if name not in self._made:
            owner = owner_id(f"{name} {self.prefix}", datetime.now(UTC))
            self.home(owner).mkdir()
            os.chown(self.home(owner), UID, UID)
            self.cluster.kubectl("apply", "--filename=-", given=self._bundle(owner))
            self._made[name] = owner
        return self._made[name]

    def space(self, owner: str) -> str:
        """Return an owner's namespace."""
        return namespace(owner, self.prefix)

    def home(self, owner: str) -> Path:
        """Return an owner's home, as this machine has it mounted; what its pods are told to
        mount at the same path is then the same file by the same name.
        """
        return self._folder / owner

    def folder(self, owner: str, name: str) -> Path:
        """Make a folder in an owner's home, and the owner's own, with those that it lies in."""
        path = self.home(owner) / name
        path.mkdir(parents=True, exist_ok=True)
        for part in (path, *path.parents):
            if part == self.home(owner):
                break
            os.chown(part, UID, UID)
        return path

    def export(self, name: str) -> str:
        """Make an empty folder of the server's that pods may write to; return its path there."""
        path = self._folder / name
        path.mkdir()
        os.chown(path, UID, UID)
        return f"{self.cluster.nfs_export}/{path.relative_to(self._mount)}"

    def close(self) -> None:
        """Let everything go, with all that runs there."""
        for owner in self._made.values():
            space = self.space(owner)
            self.cluster.kubectl(
                "delete", "pod", "--all", "--namespace", space, "--grace-period=0", "--force"
            )
            self.cluster.kubectl("delete", f"namespace/{space}", f"pv/{space}", "--wait=false")
        shutil.rmtree(self._folder, ignore_errors=True)
        _do("umount", str(self._mount))
        self._mount.rmdir()

    def _bundle(self, owner: str) -> dict[str, Any]:
        space = self.space(owner)
        within = self.home(owner).relative_to(self._mount)
        size = {"storage": "1Gi"}
        volume = {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"namespace": space, "name": "home"},
            "nfs": {
                "server": self.cluster.nfs_server,
                "path": f"{self.cluster.nfs_export}/{within}",
            },
        }
        claim = {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": space,
            "resources": {"requests": size},
        }
        strict = {"pod-security.kubernetes.io/enforce": "restricted"}
        return {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                _object("Namespace", {"name": space, "labels": strict}),
                _object("PersistentVolume", {"name": space}, volume),
                _object("PersistentVolumeClaim", {"name": "home", "namespace": space}, claim),
            ],
        }


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _object(kind: str, metadata: dict[str, Any], spec: object = None) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    return body if spec is None else {**body, "spec": spec}


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that the tests run on."""
    there = found()
    assert there is not None, f"These tests need {', '.join(_VARIABLES.values())}."
    return there


@pytest.fixture(scope="session")
def cluster_estate(cluster: Cluster) -> Iterator[Estate]:
    """Namespaces and homes on that cluster, of these tests alone."""
    estate = Estate(cluster)
    yield estate
    estate.close()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what needs a cluster where there is none."""
    folders = [ROOT / folder for folder in NEEDS_ONE]
    return True if found() is None and collection_path in folders else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to have it."""
    if found() is None:
        missing = [name for name in _VARIABLES.values() if not os.environ.get(name)]
        terminalreporter.write_line(
            f"Left out, for want of a cluster: {', '.join(NEEDS_ONE)} and the backend "
            f"`kubernetes` of tests/contract. Set {', '.join(missing)}: see "
            "docs/how-to/kubernetes.md."
        )
