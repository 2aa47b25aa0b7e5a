"""The image that builds images: in an ordinary pod, as an account without rights."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from himalia.core.names import new_id
from tests.servers.cluster import Cluster
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]
_SCRIPT = """
set -eu
id -u > /tmp/who
cat > /tmp/Containerfile <<FILE
FROM $REGISTRY/base:1
RUN echo "built by $(cat /tmp/who)" > /made && chown 33:33 /made
FILE
buildah build --tls-verify=false --file /tmp/Containerfile --tag "$REGISTRY/$NAME" /tmp
buildah push --tls-verify=false "$REGISTRY/$NAME"
grep -i '^CapEff' /proc/self/status
grep -c '"bomFormat": *"CycloneDX"' /usr/share/doc/himalia/sbom.cdx.json
"""


@pytest.fixture
def space(cluster: Cluster) -> Iterator[str]:
    name = f"t-builder-{new_id('run')[-6:]}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        cluster.kubectl("delete", f"namespace/{name}", "--wait=false")


def pod(cluster: Cluster, name: str) -> dict[str, Any]:
    """Return a pod that builds: nobody in it is root, and nothing of the image is written to."""
    places = {"home": "/home/jovyan", "tmp": "/tmp", "vartmp": "/var/tmp"}
    variables = {"REGISTRY": cluster.pod_registry, "NAME": name}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "build"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                # A user namespace of its own is made in it, which the runtime's profile forbids.
                "seccompProfile": {"type": "Unconfined"},
            },
            "volumes": [{"name": volume, "emptyDir": {}} for volume in places],
            "containers": [
                {
                    "name": "build",
                    "image": cluster.image("builder"),
                    "command": ["sh", "-c", _SCRIPT],
                    "env": [{"name": key, "value": value} for key, value in variables.items()],
                    "volumeMounts": [
                        {"name": volume, "mountPath": path} for volume, path in places.items()
                    ],
                    "securityContext": {"readOnlyRootFilesystem": True},
                }
            ],
        },
    }


def test_an_account_without_rights_builds_and_pushes_an_image(cluster: Cluster, space: str) -> None:
    name = f"{space}/made:1"
    where = ("--namespace", space)
    cluster.kubectl("create", "--filename=-", *where, given=pod(cluster, name))
    end = time.monotonic() + 2 * PATIENCE_SECONDS
    while (phase := cluster.get("pod", "build", *where)["status"]["phase"]) != "Succeeded":
        assert phase != "Failed", cluster.kubectl("logs", "pod/build", *where)
        assert time.monotonic() < end, cluster.kubectl("logs", "pod/build", *where)
        time.sleep(1)
    said = cluster.kubectl("logs", "pod/build", *where).splitlines()
    assert said[-2].split() == ["CapEff:", "0000000000000000"]
    assert said[-1] == "1"
    path, _, tag = name.partition(":")
    asked = urllib.request.Request(
        f"http://{cluster.registry}/v2/{path}/manifests/{tag}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
        manifest = json.load(answer)
    config = manifest["config"]["digest"]
    with urllib.request.urlopen(
        f"http://{cluster.registry}/v2/{path}/blobs/{config}", timeout=PATIENCE_SECONDS
    ) as answer:
        built = json.load(answer)
    assert any("built by 1000" in step.get("created_by", "") for step in built["history"])
