"""Manifests of a user's namespace, as tables: what each setting makes of them."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import pytest

from himalia.core.names import namespace
from himalia_hub.kubernetes.bundle import (
    OWNER,
    Given,
    Manifest,
    Tenant,
    contents,
    namespace_of,
    path_of,
    volume_of,
)
from himalia_hub.kubernetes.settings import CLOSED, Kubernetes

ALICE = Tenant(owner="alice-" + "a" * 26, user="Alice <b>")
BOB = Tenant(owner="bob-" + "b" * 26, user="bob")
NFS = {"nfs_server": "10.1.2.3", "nfs_export": "/export"}


def made(
    kind: str, name: str = "", tenant: Tenant = ALICE, given: Given | None = None, **settings: Any
) -> Manifest:
    """Return the only manifest of a kind, or the one of a name."""
    some = [
        one
        for one in contents(tenant, Kubernetes(**settings), given or Given())
        if one["kind"] == kind and name in {"", one["metadata"]["name"]}
    ]
    assert len(some) == 1, [one["metadata"]["name"] for one in some]
    return some[0]


def test_074_every_namespace_holds_pods_to_the_restricted_profile() -> None:
    about = namespace_of(ALICE, Kubernetes(release_namespace="hub"))["metadata"]
    assert about["name"] == namespace(ALICE.owner)
    for mode in ("enforce", "audit", "warn"):
        assert about["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert about["annotations"][OWNER] == ALICE.owner
    # Anything may stand in a name, and so it stands where anything may.
    assert ALICE.user not in about["labels"].values()
    assert about["annotations"]["himalia.io/user"] == ALICE.user


def test_everything_says_whose_it_is_and_lies_in_the_owners_namespace() -> None:
    given = Given(pull=b"{}", ca="PEM")
    settings = Kubernetes(pull_secret_file="/p", ca_file="/c", **NFS)
    for tenant in (ALICE, BOB):
        for one in contents(tenant, settings, given):
            assert one["metadata"]["annotations"] == {OWNER: tenant.owner}
            assert one["metadata"]["namespace"] == namespace(tenant.owner)
            assert "Job" not in one["kind"]
        volume = volume_of(tenant, settings)
        assert volume is not None
        assert volume["metadata"]["annotations"] == {OWNER: tenant.owner}


def test_074_no_service_account_has_a_token() -> None:
    for name in ("default", "himalia-session", "himalia-run"):
        account = made("ServiceAccount", name)
        assert account["automountServiceAccountToken"] is False
        assert account["imagePullSecrets"] == []


def test_a_home_is_a_folder_of_its_own_on_the_export() -> None:
    settings = Kubernetes(nfs_options=["nfsvers=4.1"], home_size="20Gi", **NFS)
    paths = set()
    for tenant in (ALICE, BOB):
        volume = volume_of(tenant, settings)
        assert volume is not None
        spec = volume["spec"]
        assert spec["nfs"] == {"server": "10.1.2.3", "path": f"/export/homes/{tenant.owner}"}
        # Only the owner's claim can take it, and deleting that deletes no file.
        assert spec["claimRef"]["namespace"] == namespace(tenant.owner)
        assert spec["persistentVolumeReclaimPolicy"] == "Retain"
        assert spec["mountOptions"] == ["nfsvers=4.1"]
        claim = made("PersistentVolumeClaim", tenant=tenant, home_size="20Gi", **NFS)
        assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
        assert claim["spec"]["storageClassName"] == ""
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        assert claim["spec"]["resources"] == {"requests": {"storage": "20Gi"}}
        paths.add(spec["nfs"]["path"])
    assert len(paths) == 2
    assert path_of(ALICE.owner, Kubernetes(nfs_export="/")) == f"/homes/{ALICE.owner}"


def test_a_storage_class_gives_volumes_by_itself() -> None:
    assert volume_of(ALICE, Kubernetes(storage_class="efs")) is None
    spec = made("PersistentVolumeClaim", storage_class="efs")["spec"]
    assert spec["storageClassName"] == "efs"
    assert "volumeName" not in spec
    # Not named at all, it is the cluster's own default; "" would be none.
    assert "storageClassName" not in made("PersistentVolumeClaim")["spec"]


def test_077_hub_and_control_get_their_role_in_this_namespace_alone() -> None:
    for role, account in (("himalia-sessions", "hub"), ("himalia-runs", "control")):
        binding = made("RoleBinding", role, release_namespace="jhub")
        assert binding["roleRef"]["name"] == role
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account, "namespace": "jhub"}
        ]
    kinds = {one["kind"] for one in contents(ALICE, Kubernetes(), Given())}
    assert not {kind for kind in kinds if kind.startswith("Cluster")}


def test_credentials_and_certificates_are_there_where_files_name_them() -> None:
    secret = made("Secret", pull_secret_file="/p", given=Given(pull=b'{"auths": {}}'))
    assert base64.b64decode(secret["data"][".dockerconfigjson"]) == b'{"auths": {}}'
    account = made("ServiceAccount", "himalia-run", pull_secret_file="/p")
    assert account["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]
    assert made("ConfigMap", ca_file="/c", given=Given(ca="PEM"))["data"] == {"ca.crt": "PEM"}
    kinds = [one["kind"] for one in contents(ALICE, Kubernetes(), Given())]
    assert "Secret" not in kinds
    assert "ConfigMap" not in kinds


def test_quotas_and_limits_are_those_of_the_settings() -> None:
    assert made("ResourceQuota", quota={"limits.cpu": "8"})["spec"]["hard"] == {"limits.cpu": "8"}
    (limit,) = made("LimitRange", limits={"max": {"cpu": "4"}})["spec"]["limits"]
    assert limit == {"type": "Container", "max": {"cpu": "4"}}
    assert {"services.nodeports", "pods"} <= made("ResourceQuota")["spec"]["hard"].keys()
    assert "memory" in made("LimitRange")["spec"]["limits"][0]["default"]
    kinds = [one["kind"] for one in contents(ALICE, Kubernetes(quota={}, limits={}), Given())]
    assert "ResourceQuota" not in kinds
    assert "LimitRange" not in kinds


def test_076_a_pod_reaches_nothing_that_is_not_named() -> None:
    closed = made("NetworkPolicy", "himalia-closed")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    egress = made("NetworkPolicy", "himalia-egress", release_namespace="jhub")["spec"]
    chosen = egress["podSelector"]["matchExpressions"][0]
    assert (chosen["operator"], chosen["values"]) == ("In", ["session", "run"])
    peers = [peer for rule in egress["egress"] for peer in rule["to"]]
    for peer in peers:
        # A selector of pods alone would mean this namespace; of namespaces alone, all in them.
        assert ("ipBlock" in peer) or {"namespaceSelector", "podSelector"} == peer.keys()
    named = {peer["podSelector"]["matchLabels"].popitem()[1] for peer in peers if len(peer) == 2}
    assert named == {"kube-dns", "hub", "control", "proxy"}


def test_076_the_internet_is_without_private_and_metadata_addresses() -> None:
    rules = made("NetworkPolicy", "himalia-egress")["spec"]["egress"]
    blocks = [
        (ipaddress.ip_network(peer["ipBlock"]["cidr"]), peer["ipBlock"]["except"])
        for rule in rules
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert {str(cidr) for cidr, _ in blocks} == {"0.0.0.0/0", "::/0"}
    for cidr, closed in blocks:
        # The API server refuses an exception that is not inside.
        assert all(ipaddress.ip_network(one).version == cidr.version for one in closed)
    open_to_pods = [one for _, closed in blocks for one in closed]
    for address in ("10.96.0.1", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "127.0.0.1"):
        where = ipaddress.ip_address(address)
        assert any(where in ipaddress.ip_network(one) for one in open_to_pods), address
    assert sorted(open_to_pods) == sorted(CLOSED)


def test_the_network_is_open_as_far_as_the_settings_say() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [{"port": 443}]}
    spec = made("NetworkPolicy", "himalia-egress", internet=False, egress=[rule])["spec"]
    assert spec["egress"][-1] == rule
    assert sum("ipBlock" in peer for one in spec["egress"] for peer in one["to"]) == 1
    more = {"from": [{"podSelector": {}}]}
    ingress = made("NetworkPolicy", "himalia-sessions", ingress=[more])["spec"]["ingress"]
    assert ingress[-1] == more
    peers = [one["podSelector"]["matchLabels"].popitem()[1] for one in ingress[0]["from"]]
    assert peers == ["hub", "proxy"]
    assert [port["port"] for port in ingress[0]["ports"]] == [8888]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"uid": 0}, "root"),
        ({"prefix": "Himalia_"}, "prefix"),
        ({"home_size": "10 GB"}, "quantity"),
        ({"closed_ranges": ["10.0.0.1/8"]}, "host bits"),
        ({"profiles": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"profiles": [{"name": "a", "privileged": True}]}, "number 1, privileged"),
        ({"profiles": [{"name": "../x"}]}, "number 1, name"),
        ({"profiles": [{"name": "a", "memory": "4GB"}]}, "number 1, memory"),
    ],
)
def test_075_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Kubernetes(**wrong)


@pytest.mark.parametrize("owner", ["kube-system", "alice", "../../x", ""])
def test_072_nobody_but_an_owner_gets_a_namespace(owner: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        namespace_of(Tenant(owner=owner, user="x"), Kubernetes())
