"""Users' namespaces on a real cluster: made, repaired, refused and gone again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from typing_extensions import override

from himalia.core.names import namespace, owner_id
from himalia_hub.kubernetes.bundle import Tenant
from himalia_hub.kubernetes.cluster import Cluster as Asked
from himalia_hub.kubernetes.reconcile import Reconciler
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.kubernetes.storage import Storage
from tests.servers.cluster import UID
from tests.servers.cluster_hub import ClusterHub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.asyncio, pytest.mark.kubernetes]
PART = "app.kubernetes.io/component"


class Place:
    """One owner's namespace, as tests look at it."""

    def __init__(self, hub: ClusterHub, name: str) -> None:
        self.hub = hub
        self.owner = owner_id(name, datetime.now(UTC))
        self.name = namespace(self.owner, hub.prefix)

    async def ensure(self) -> Any:
        answer = await self.hub.namespaces("PUT", f"/{self.owner}", json={"user": "somebody"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, kind: str, name: str) -> Any:
        return self.hub.cluster.get(kind, name, "--namespace", self.name)

    def kubectl(self, *words: str, given: object = None) -> str:
        return self.hub.cluster.kubectl(*words, "--namespace", self.name, given=given)

    def refused(self, *words: str, given: object = None) -> str:
        with pytest.raises(AssertionError) as caught:
            self.kubectl(*words, given=given)
        return str(caught.value)


@pytest.fixture(scope="module")
def hub(cluster_hub: ClusterHub) -> ClusterHub:
    return cluster_hub


def pod(name: str, **change: Any) -> dict[str, Any]:
    """Return a pod as the restricted profile wants it, and with what is changed."""
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["true"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    container["securityContext"] |= change.pop("container", {})
    security = {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"containers": [container], "securityContext": security, **change}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def test_the_api_server_takes_all_of_a_namespace(hub: ClusterHub) -> None:
    place = Place(hub, "Ann Ä.")
    made = await place.ensure()
    assert made == {"namespace": place.name, "is_new": True}
    assert not (await place.ensure())["is_new"]
    found = hub.cluster.get("namespace", place.name)["metadata"]
    assert found["annotations"]["himalia.io/owner"] == place.owner
    assert found["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    kinds = "quota,limits,networkpolicies,serviceaccounts,pvc,rolebindings"
    names = {
        f"{one['kind']}/{one['metadata']['name']}"
        for one in hub.cluster.get(kinds, "--namespace", place.name)["items"]
    }
    assert names >= {
        *("ResourceQuota/himalia", "LimitRange/himalia", "PersistentVolumeClaim/home"),
        *(f"NetworkPolicy/himalia-{name}" for name in ("closed", "egress", "sessions")),
        *(f"ServiceAccount/{name}" for name in ("default", "himalia-session", "himalia-run")),
        *(f"RoleBinding/{hub.prefix}-{name}" for name in ("runs", "sessions")),
    }
    assert (await hub.namespaces("GET")).json()["owners"].count(place.owner) == 1
    home = hub.owned(place.owner).stat()
    assert (home.st_uid, home.st_gid, home.st_mode & 0o7777) == (UID, UID, 0o700)
    end = time.monotonic() + PATIENCE_SECONDS
    while place.get("pvc", "home")["status"]["phase"] != "Bound":
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    "change",
    [
        {"container": {"privileged": True, "allowPrivilegeEscalation": True}},
        {"container": {"allowPrivilegeEscalation": True}},
        {"container": {"runAsUser": 0}},
        {"container": {"capabilities": {"add": ["NET_RAW"]}}},
        {"hostNetwork": True},
        {"hostPID": True},
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
        {"volumes": [{"name": "a", "nfs": {"server": "10.0.0.1", "path": "/"}}]},
    ],
    ids=str,
)
async def test_074_a_pod_beyond_the_restricted_profile_is_refused(
    hub: ClusterHub, change: dict[str, Any]
) -> None:
    place = Place(hub, "tries")
    await place.ensure()
    dry = ("create", "--dry-run=server", "--filename=-")
    place.kubectl(*dry, given=pod("good"))
    assert "violates PodSecurity" in place.refused(*dry, given=pod("bad", **change))


async def test_074_a_pod_gets_limits_and_no_token(hub: ClusterHub) -> None:
    place = Place(hub, "limits")
    await place.ensure()
    plain = pod("plain")
    made = place.kubectl("create", "--dry-run=server", "--output=json", "--filename=-", given=plain)
    assert "serviceaccount" not in made
    assert '"memory": "2Gi"' in made


async def test_077_hub_and_control_may_work_in_users_namespaces_alone(hub: ClusterHub) -> None:
    place = Place(hub, "rights")
    await place.ensure()

    def may(account: str, verb: str, what: str, where: str, *more: str) -> bool:
        user = f"system:serviceaccount:{hub.release}:{account}"
        ask = ("kubectl", "auth", "can-i", verb, what, *more)
        done = subprocess.run(
            [*ask, f"--namespace={where}", f"--as={user}"],
            env={**os.environ, "KUBECONFIG": hub.cluster.kubeconfig},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip() == "yes"

    assert may("hub", "create", "pods", place.name)
    assert may("control", "create", "pods", place.name, "--subresource=exec")
    assert not may("hub", "create", "pods", place.name, "--subresource=exec")
    for account in ("hub", "control"):
        assert not may(account, "create", "pods", "default")
        assert not may(account, "get", "secrets", place.name)
        assert not may(account, "create", "rolebindings", place.name)
        assert not may(account, "create", "namespaces", "default")


async def test_drift_is_repaired_without_anybody_asking(hub: ClusterHub) -> None:
    place = Place(hub, "drift")
    await place.ensure()
    place.kubectl("delete", "networkpolicy", "himalia-closed")
    wide = '{"spec": {"egress": [{}]}}'
    place.kubectl("patch", "networkpolicy", "himalia-egress", "--type=merge", "--patch", wide)
    loose = "pod-security.kubernetes.io/enforce=privileged"
    hub.cluster.kubectl("label", "--overwrite", "namespace", place.name, loose)
    place.kubectl("delete", "rolebinding", f"{hub.prefix}-runs")

    def is_mended() -> bool:
        labels = hub.cluster.get("namespace", place.name)["metadata"]["labels"]
        policies = hub.cluster.get("networkpolicies", "--namespace", place.name)["items"]
        by_name = {one["metadata"]["name"]: one["spec"] for one in policies}
        bindings = hub.cluster.get("rolebindings", "--namespace", place.name)["items"]
        return (
            labels["pod-security.kubernetes.io/enforce"] == "restricted"
            and "himalia-closed" in by_name
            and {} not in by_name["himalia-egress"]["egress"]
            and len(bindings) == 2
        )

    end = time.monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(is_mended):
        assert time.monotonic() < end
        await asyncio.sleep(0.3)


class Counting(Asked):
    """Counts what is asked of the API server."""

    count = 0

    @override
    async def _ask(self, *what: Any, **more: Any) -> dict[str, Any]:
        self.count += 1
        return await super()._ask(*what, **more)


async def test_a_later_start_waits_for_one_answer_and_drift_goes_right_after(
    hub: ClusterHub,
) -> None:
    settings = Kubernetes(prefix=f"{hub.prefix}-q", release_namespace=f"{hub.prefix}-q")
    asked = await Counting.connect()
    keeper = Reconciler(settings, asked, Storage(settings, asked, retired_days=1))
    tenant = Tenant(owner=owner_id("later", datetime.now(UTC)), user="later")
    try:
        made = await keeper.ensure(tenant)
        assert made.is_new
        inside = ("--namespace", made.namespace)
        hub.cluster.kubectl("delete", "networkpolicy", "himalia-closed", *inside)
        before = asked.count
        assert not (await keeper.ensure(tenant)).is_new
        assert asked.count == before + 1
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "himalia-closed" not in hub.cluster.kubectl(  # noqa: ASYNC110 - nothing tells
                "get", "netpol", *inside
            ):
                await asyncio.sleep(0.2)
        # What was changed at the namespace itself is not left for later.
        loose = "pod-security.kubernetes.io/enforce=privileged"
        hub.cluster.kubectl("label", "--overwrite", "namespace", made.namespace, loose)
        hub.cluster.kubectl("delete", "networkpolicy", "himalia-closed", *inside)
        await keeper.ensure(tenant)
        assert "himalia-closed" in hub.cluster.kubectl("get", "netpol", *inside)
        labels = hub.cluster.get("namespace", made.namespace)["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    finally:
        await keeper.remove(tenant.owner)
        await keeper.close()
        await asked.close()


async def test_072_a_foreign_namespace_is_refused_and_left_as_it_is(hub: ClusterHub) -> None:
    place = Place(hub, "squat")
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.name}}
    hub.cluster.kubectl("create", "--filename=-", given=foreign)
    before = hub.cluster.get("namespace", place.name)
    try:
        for _ in range(2):
            answer = await hub.namespaces("PUT", f"/{place.owner}", json={"user": "x"})
            assert answer.status_code == 409
            assert "was not made by this hub" in answer.json()["error"]["message"]
        assert (await hub.namespaces("DELETE", f"/{place.owner}")).status_code == 409
        assert hub.cluster.get("namespace", place.name) == before
        assert not hub.owned(place.owner).exists()
    finally:
        hub.cluster.kubectl("delete", "namespace", place.name, "--wait=false")


async def test_only_who_knows_the_secret_is_answered(hub: ClusterHub) -> None:
    place = Place(hub, "secret")
    for token in ("x", "wrong" * 20):
        for method, path in (("PUT", f"/{place.owner}"), ("DELETE", "/x"), ("GET", "")):
            answer = await hub.namespaces(method, path, token=token, json={"user": "x"})
            assert answer.status_code == 401
    for path in ("/kube-system", "/..%2f..", "/default"):
        assert (await hub.namespaces("PUT", path, json={"user": "x"})).status_code == 404
        assert (await hub.namespaces("DELETE", path)).status_code == 404
    assert (await hub.namespaces("PUT", f"/{place.owner}", json={})).status_code == 400


async def test_what_a_user_leaves_is_archived_and_the_namespace_goes(hub: ClusterHub) -> None:
    place = Place(hub, "gone")
    await place.ensure()
    (hub.owned(place.owner) / "precious").write_text("mine")
    end = time.monotonic() + PATIENCE_SECONDS
    while (await hub.namespaces("DELETE", f"/{place.owner}")).status_code != 200:
        assert time.monotonic() < end
        await asyncio.sleep(0.3)
    spaces = hub.cluster.get("namespaces", f"--field-selector=metadata.name={place.name}")
    assert spaces["items"] == []
    # Kubernetes lets go of a volume a moment after its claim is gone.
    while place.name in [one["metadata"]["name"] for one in hub.cluster.get("pv")["items"]]:
        assert time.monotonic() < end
        await asyncio.sleep(0.3)
    assert not hub.owned(place.owner).exists()
    (kept,) = (hub.export / "retired").glob(f"{place.owner}.*/home/precious")
    assert kept.read_text() == "mine"
    # Asked again, there is nothing to do.
    assert (await hub.namespaces("DELETE", f"/{place.owner}")).json() == {"state": "gone"}
