"""The images that ``make images`` builds, as pods have them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia import __version__
from tests.servers.chart import strict_namespace
from tests.servers.cluster import ROOT, Cluster

pytestmark = pytest.mark.kubernetes

LOOK = """
import importlib.metadata, json, os, pathlib, sys
import {module}
made = [name for name in sys.modules if getattr(sys.modules[name], "__cached__", None)]
ours = ("himalia", "himalia_hub", "tornado", "traitlets", "jupyterhub", "json")
uncompiled = [
    name for name in made
    if name.partition(".")[0] in ours
    and not pathlib.Path(sys.modules[name].__cached__).exists()
]
def writable(folder):
    trial = pathlib.Path(folder, ".trial")
    try:
        trial.touch()
        trial.unlink()
    except OSError:
        return False
    return True
print(json.dumps({{
    "uid": os.getuid(),
    "packages": {{one.metadata["Name"].lower().replace("_", "-").replace(".", "-"): one.version
                 for one in importlib.metadata.distributions()}},
    "uncompiled": uncompiled,
    "writable": [folder for folder in ("/", "/etc", "/opt/himalia", "/usr", "/home", "/tmp")
                 if writable(folder)],
    "sbom": json.loads(pathlib.Path("/usr/share/doc/himalia/sbom.cdx.json").read_text()),
    "certificates": [str(path) for path in pathlib.Path("/run").rglob("certificates*")],
}}))
"""


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    with strict_namespace(cluster) as name:
        yield name


def look(cluster: Cluster, space: str, image: str, command: list[str]) -> str:
    """Run a command in an image as strictly as pods can be, and return what it prints."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"look-{image}"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [
                {
                    "name": "look",
                    "image": cluster.image(image),
                    "command": command,
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    where = ("--namespace", space)
    cluster.kubectl("create", "--filename=-", *where, given=pod)
    name = f"pod/look-{image}"
    cluster.kubectl(
        "wait", name, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=140s", *where
    )
    return cluster.kubectl("logs", name, *where)


def locked(lock: str) -> tuple[dict[str, str], set[str]]:
    """Return the versions of a lock for every system, and the names of some systems' alone."""
    text = (ROOT / "requirements" / lock).read_text()
    found = re.findall(r"^([\w.-]+)==(\S+)( ;.*)? \\$", text, re.MULTILINE)
    everywhere = {name.replace(".", "-"): version for name, version, marker in found if not marker}
    return everywhere, {name for name, _, marker in found if marker}


@pytest.mark.parametrize(
    ("image", "lock", "module"),
    [
        ("session", "hub.txt", "jupyterhub.singleuser"),
        ("control", "cluster.txt", "himalia_hub.kubernetes.serve"),
    ],
)
def test_an_image_is_its_lock_and_runs_as_strictly_as_pods_can(
    cluster: Cluster, space: str, image: str, lock: str, module: str
) -> None:
    code = LOOK.format(module=module)
    found: dict[str, Any] = json.loads(
        look(cluster, space, image, ["python", "-I", "-c", code]).splitlines()[-1]
    )
    assert found["uid"] == 1000
    assert found["writable"] == ["/tmp"]
    assert found["uncompiled"] == []
    assert found["certificates"] == []
    everywhere, elsewhere = locked(lock)
    wanted = everywhere | {"himalia": __version__}
    assert wanted.items() <= found["packages"].items()
    # pip is there for users; nothing else came along.
    assert set(found["packages"]) - set(wanted) - elsewhere <= {"pip", "setuptools", "wheel"}
    sbom = found["sbom"]
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == (
        "CycloneDX",
        f"himalia-{image}",
    )
    listed = {one["purl"] for one in sbom["components"]}
    assert {f"pkg:pypi/{name}@{version}" for name, version in wanted.items()} <= listed
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in listed)


def test_the_proxy_is_its_lock(cluster: Cluster, space: str) -> None:
    show = ["cat", "/usr/share/doc/himalia/sbom.cdx.json"]
    sbom = json.loads(look(cluster, space, "proxy", show))
    listed = {one.get("purl") for one in sbom["components"]}
    package = json.loads((ROOT / "hub/proxy/package.json").read_text())
    for name, version in package["dependencies"].items():
        assert f"pkg:npm/{name}@{version}" in listed
    (node,) = [one for one in sbom["components"] if one["name"] == "node"]
    version = re.search(r"==(\S+)", (ROOT / "requirements/node.txt").read_text())
    assert version is not None
    assert node["version"] == version[1]


def test_unchanged_inputs_are_not_built_again(cluster: Cluster, tmp_path: Path) -> None:
    """The registry has an image by the digest of its inputs, so no builder is asked."""
    builder = tmp_path / "buildah"
    builder.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 1\n")
    builder.chmod(0o755)
    base = os.environ.get("BASE_IMAGE") or f"{cluster.registry}/base:1"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "images/build.py"), "--registry", cluster.registry),
            *("--base-image", base, "--builder", "buildah", "--out", str(tmp_path / "out.json")),
            *("proxy", "database"),
        ],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "asked").exists()
    again = json.loads((tmp_path / "out.json").read_text())
    assert again == {name: cluster.image(name) for name in ("proxy", "database")}
