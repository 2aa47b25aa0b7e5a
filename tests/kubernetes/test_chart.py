"""The chart as helm renders it, before anything runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.chart import (
    CHART,
    PRESETS,
    HelmFailed,
    helm,
    of_kind,
    pods,
    render,
    strict_namespace,
)
from tests.servers.cluster import Cluster

pytestmark = pytest.mark.kubernetes

EVERYTHING = {
    "imagePullSecrets": [{"name": "registry"}],
    "proxy": {"https": {"enabled": True, "secret": {"name": "hub-tls"}}},
    "ingress": {"enabled": True, "hosts": ["hub.example.org"]},
    "singleuser": {
        "storage": {"type": "nfs", "nfs": {"server": "nfs.example.org", "export": "/homes"}},
        "certificates": {"configMap": "authorities"},
    },
}
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


@pytest.fixture(scope="module")
def usual() -> list[dict[str, Any]]:
    return render()


@pytest.fixture(scope="module")
def full() -> list[dict[str, Any]]:
    return render(EVERYTHING)


def sections(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every part of the values that has names of its own."""
    if "properties" in schema:
        yield path
        for name, part in schema["properties"].items():
            yield from sections(part, (*path, name))


def test_every_section_refuses_names_that_it_does_not_know() -> None:
    paths = list(sections(SCHEMA))
    assert len(paths) > 25
    values: dict[str, Any] = {}
    for path in paths:
        place = values
        for name in path:
            place = place.setdefault(name, {})
        place["misspelt"] = 1
    with pytest.raises(HelmFailed) as failure:
        render(values)
    told = str(failure.value)
    for path in paths:
        where = f"'/{'/'.join(path)}'" if path else "''"
        assert f"at {where}: additional properties 'misspelt' not allowed" in told


def test_every_value_has_its_default_and_its_words() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(schema: dict[str, Any], value: Any, path: str) -> None:
        for name, part in schema.get("properties", {}).items():
            if f"{path}{name}" == "global":
                continue
            assert name in value, f"values.yaml lacks {path}{name}"
            assert "$ref" in part or len(part["description"]) > 5, f"{path}{name}"
            if isinstance(value[name], dict):
                compare(part, value[name], f"{path}{name}.")

    compare(SCHEMA, defaults, "")


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    with strict_namespace(cluster) as name:
        yield name


def offer(cluster: Cluster, space: str, objects: list[dict[str, Any]]) -> None:
    """Have the API server judge objects as if they were made."""
    cluster.kubectl(
        *("create", "--dry-run=server", "--validate=strict", "--namespace", space, "--filename=-"),
        given={"apiVersion": "v1", "kind": "List", "items": objects},
    )


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_taken_by_the_api_server(preset: Path, cluster: Cluster, space: str) -> None:
    words = ("--namespace", space, "--values", str(preset), "--skip-tests")
    text = helm("template", "himalia", str(CHART), *words)
    objects = [one for one in yaml.safe_load_all(text) if one]
    assert "StatefulSet" in {one["kind"] for one in objects}
    offer(cluster, space, objects)
    assert (CHART.parent.parent / f"docs/how-to/kubernetes-{preset.stem}.md").is_file()


def test_074_every_pod_is_let_in_where_only_the_strictest_are(
    cluster: Cluster, space: str, usual: list[dict[str, Any]], full: list[dict[str, Any]]
) -> None:
    found = [*pods(usual).values(), *pods(full).values()]
    assert len(found) == 16
    for name in ("hub", "control", "namespaces"):
        cluster.kubectl("create", "serviceaccount", name, "--namespace", space)
    # The API server's own evaluator refuses what is less strict.
    offer(cluster, space, found)
    loose = json.loads(json.dumps(found[0]))
    loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        offer(cluster, space, [loose])
    for pod in found:
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"requests", "limits"} <= set(container["resources"])
        assert pod["spec"]["enableServiceLinks"] is False


def test_077_only_the_keeper_of_namespaces_may_write_outside_its_own(
    full: list[dict[str, Any]],
) -> None:
    roles = of_kind(full, "ClusterRole")
    for role in roles.values():
        for rule in role["rules"]:
            words = {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert not words & {"*", "escalate", "impersonate", "deletecollection"}
            if "secrets" in rule["resources"]:
                assert not {"get", "list", "watch"} & set(rule["verbs"])
            if "bind" in rule["verbs"]:
                assert sorted(rule["resourceNames"]) == [
                    "team-himalia-runs",
                    "team-himalia-sessions",
                ]
    bound = {
        subject["name"]: roles[binding["roleRef"]["name"]]
        for binding in of_kind(full, "ClusterRoleBinding").values()
        for subject in binding["subjects"]
    }
    assert set(bound) == {"hub", "namespaces"}
    verbs = {verb for rule in bound["hub"]["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}
    tokens = {
        name for name, pod in pods(full).items() if pod["spec"]["automountServiceAccountToken"]
    }
    assert tokens == {"hub", "control", "namespaces", "test-isolation"}
    for account in of_kind(full, "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


def test_077_control_reads_the_pods_of_all_only_where_one_watch_is_wanted() -> None:
    wide = render({**EVERYTHING, "control": {"watchAll": True}})
    (binding,) = (
        one
        for one in of_kind(wide, "ClusterRoleBinding").values()
        if [subject["name"] for subject in one["subjects"]] == ["control"]
    )
    role = of_kind(wide, "ClusterRole")[binding["roleRef"]["name"]]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]


def test_078_secrets_are_in_secrets_alone(full: list[dict[str, Any]]) -> None:
    values = {"hub": {"config": {"Himalia": {"oidc_client_secret": "canary-of-a-secret"}}}}
    objects = render(values)
    made = of_kind(objects, "Secret")
    kept = {base64.b64decode(value).decode() for value in made["himalia"]["data"].values()}
    passwords = made["himalia-database"]["stringData"]
    kept |= {passwords[f"database-{name}"] for name in ("himalia", "jupyterhub")}
    assert len(kept) == 10
    kept |= {
        base64.b64decode(one["data"]["tls.key"]).decode()
        for name, one in made.items()
        if one["type"] == "kubernetes.io/tls"
    }
    assert len(kept) == 16
    told = json.loads(base64.b64decode(made["hub"]["data"]["values.json"]))
    assert told["hub"]["config"]["Himalia"]["oidc_client_secret"] == "canary-of-a-secret"
    others = json.dumps([one for one in objects if one["kind"] != "Secret"])
    for secret in (*kept, "canary-of-a-secret"):
        assert secret not in others


def test_each_component_gets_no_secret_but_its_own(full: list[dict[str, Any]]) -> None:
    def keys(name: str) -> set[str]:
        volumes = pods(full)[name]["spec"]["volumes"]
        parts = [
            *(volume["secret"] for volume in volumes if "secret" in volume),
            *(
                source["secret"]
                for volume in volumes
                for source in volume.get("projected", {}).get("sources", ())
                if "secret" in source
            ),
        ]
        assert all(part["items"] for part in parts)
        return {item["key"] for part in parts for item in part["items"]}

    tls = {"tls.key", "tls.crt", "ca.crt"}
    own = {"namespaces-token", "values.json", *tls}
    assert keys("namespaces") == {*own, ".dockerconfigjson"}
    assert keys("control") == {*own, "control-token", "control-cookies", "store-url"}
    assert keys("hub") >= {*own, "cookie-secret", "crypt-key", "hub-url"}
    assert not keys("hub") & {"store-url", "control-cookies"}
    assert keys("database") == {"database-himalia", "database-jupyterhub", *tls}
    assert keys("proxy") == tls
    # Who had the authority's key could be any part; each has its own certificate and no other's.
    for name in ("hub", "control", "namespaces", "proxy", "database", "test-isolation"):
        volumes = {one["name"]: one for one in pods(full)[name]["spec"]["volumes"]}
        part = name.removesuffix("-isolation")
        assert volumes["tls"]["secret"]["secretName"] == f"himalia-tls-{part}"
    assert "himalia-tls-authority" not in json.dumps(list(pods(full).values()))


def test_every_component_has_a_policy_that_closes_what_it_does_not_name(
    full: list[dict[str, Any]],
) -> None:
    policies = of_kind(full, "NetworkPolicy")
    parts = {name for name in pods(full) if not name.startswith("test-")}
    assert set(policies) == parts
    for name, policy in policies.items():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert chosen.items() <= pods(full)[name]["metadata"]["labels"].items()
        for rule in policy["spec"]["ingress"]:
            assert rule["ports"]
            assert rule.get("from") or name == "proxy"
    assert policies["database"]["spec"].get("egress") in (None, [])


def test_a_certificate_of_ones_own_has_browsers_come_by_https_alone() -> None:
    objects = render(EVERYTHING)
    proxy = pods(objects)["proxy"]["spec"]["containers"][0]
    assert "--ssl-key=/etc/himalia/https/tls.key" in proxy["args"]
    assert "--redirect-to=443" in proxy["args"]
    ports = of_kind(objects, "Service")["proxy-public"]["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in ports] == [(80, "http"), (443, "https")]
    told = json.loads(base64.b64decode(of_kind(objects, "Secret")["hub"]["data"]["values.json"]))
    assert told["hstsSeconds"] == 31536000


def test_an_external_database_takes_the_place_of_the_bundled_one() -> None:
    values = {"database": {"bundled": False, "external": {"secretName": "ours"}}}
    objects = render(values)
    assert "database" not in pods(objects)
    assert "himalia-database" not in of_kind(objects, "Secret")
    sources = pods(objects)["hub"]["spec"]["volumes"][1]["projected"]["sources"]
    assert sources[1]["secret"]["name"] == "ours"
    with pytest.raises(HelmFailed, match=r"database\.external\.secretName must name a Secret"):
        render({"database": {"bundled": False}})


def test_an_external_database_may_have_an_authority_of_its_own() -> None:
    external = {"secretName": "ours", "ca": "authority.pem"}
    objects = render({"database": {"bundled": False, "external": external}})
    for name in ("hub", "control"):
        sources = pods(objects)[name]["spec"]["volumes"][1]["projected"]["sources"]
        given = {"key": "authority.pem", "path": "database-ca.crt"}
        assert given in sources[1]["secret"]["items"], name


def test_parts_take_certificates_of_ones_own_or_speak_without() -> None:
    ours = render({"internalTls": {"existing": "ours"}})
    assert not [name for name in of_kind(ours, "Secret") if "tls" in name]
    for name in ("hub", "control", "namespaces", "proxy", "database"):
        volumes = {one["name"]: one for one in pods(ours)[name]["spec"]["volumes"]}
        assert volumes["tls"]["secret"]["secretName"] == f"ours-{name}"
    without = render({"internalTls": {"enabled": False}})
    assert not [name for name in of_kind(without, "Secret") if "tls" in name]
    told = json.dumps(list(pods(without).values()))
    assert "himalia-tls" not in told
    assert "https://" not in told
    assert "sslmode" not in json.dumps(of_kind(without, "Secret"))
    policy = of_kind(without, "NetworkPolicy")["control"]["spec"]
    assert {rule["ports"][0]["port"] for rule in policy["ingress"]} == {8300}


def test_the_notes_say_the_next_step() -> None:
    def notes(values: object) -> str:
        words = ("install", "himalia", str(CHART), "--namespace", "team", "--dry-run=client")
        return helm(*words, given=values).partition("NOTES:")[2]

    trial = notes({})
    assert "get secret himalia" in trial
    assert "helm test himalia --namespace team" in trial
    assert "nobody makes backups" in trial
    real = notes({"hub": {"config": {"Himalia": {"oidc_issuer": "https://id.example.org"}}}})
    assert "get secret" not in real
    assert "WARNING" in notes({"networkPolicy": {"enabled": False}})
