"""Room for the next sessions: placeholders that give way, and images that are there already."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from himalia.core.names import new_id
from tests.servers.chart import HelmFailed, image_values, merged, of_kind, render, strict_namespace
from tests.servers.cluster import Cluster
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def seat(cluster: Cluster) -> Iterator[str]:
    """A resource of which the node has exactly one, so that two pods cannot have it."""
    name = f"example.org/seat-{new_id('run')[-6:]}"
    node = cluster.get("nodes")["items"][0]["metadata"]["name"]
    where = f"/status/capacity/{name.replace('/', '~1')}"

    def patch(change: dict[str, Any]) -> None:
        words = ("--subresource=status", "--type=json", "--patch", json.dumps([change]))
        cluster.kubectl("patch", f"node/{node}", *words)

    patch({"op": "add", "path": where, "value": "1"})
    yield name
    patch({"op": "remove", "path": where})


def until(cluster: Cluster, space: str, name: str, phase: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        pods = cluster.get("pods", "--namespace", space)["items"]
        found = [one for one in pods if one["metadata"]["name"].startswith(name)]
        if any(one["status"].get("phase") == phase for one in found):
            return
        assert time.monotonic() < end, [one["status"] for one in found]
        time.sleep(0.3)


def test_a_placeholder_gives_its_place_to_a_session_and_images_are_there_before(
    cluster: Cluster, seat: str
) -> None:
    amounts = {"requests": {seat: "1", "cpu": "1m"}, "limits": {seat: "1"}}
    values = merged(
        image_values(cluster),
        {"scheduling": {"userPlaceholder": {"replicas": 1, "resources": amounts}}},
    )
    with strict_namespace(cluster) as space:
        rendered = render(values, "--namespace", space)
        objects = of_kind(rendered, "PriorityClass", "DaemonSet")
        objects["user-placeholder"] = of_kind(rendered, "Deployment")["user-placeholder"]
        (priority,) = of_kind(rendered, "PriorityClass")
        try:
            for one in objects.values():
                cluster.kubectl("apply", "--namespace", space, "--filename=-", given=one)
            until(cluster, space, "user-placeholder", "Running")
            until(cluster, space, "continuous-image-puller", "Running")
            template = objects["user-placeholder"]["spec"]["template"]["spec"]
            session = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "session"},
                "spec": {**template, "priorityClassName": ""},
            }
            cluster.kubectl("create", "--namespace", space, "--filename=-", given=session)
            until(cluster, space, "session", "Running")
            # The next one keeps waiting: that is what has a cluster add a machine.
            until(cluster, space, "user-placeholder", "Pending")
        finally:
            cluster.kubectl("delete", f"priorityclass/{priority}")


def test_every_image_that_a_session_may_have_is_fetched_once() -> None:
    profiles = [
        {"name": "one", "image": "example.org/gpu:1"},
        {"name": "two", "image": "example.org/gpu:1", "cpu": 2},
        {"name": "three"},
    ]
    values = {
        "singleuser": {
            "image": {"name": "example.org/session", "tag": "5"},
            "profiles": profiles,
            "nodeSelector": {"pool": "users"},
            "extraTolerations": [{"key": "users", "operator": "Exists"}],
        },
        "prePuller": {"extraImages": ["example.org/more:2"]},
        "scheduling": {"userPlaceholder": {"replicas": 2}},
    }
    rendered = render(values)
    puller = of_kind(rendered, "DaemonSet")["continuous-image-puller"]
    idle = of_kind(rendered, "Deployment")["user-placeholder"]
    spec = puller["spec"]["template"]["spec"]
    images = [one["image"] for one in spec["initContainers"]]
    assert images == ["example.org/session:5", "example.org/gpu:1", "example.org/more:2"]
    for one in (spec, idle["spec"]["template"]["spec"]):
        assert one["nodeSelector"] == {"pool": "users"}
        assert one["tolerations"] == [{"key": "users", "operator": "Exists"}]


def test_without_replicas_or_wish_there_is_neither() -> None:
    usual = render({"prePuller": {"continuous": {"enabled": False}}})
    assert not of_kind(usual, "PriorityClass", "DaemonSet")
    assert "user-placeholder" not in of_kind(usual, "Deployment")
    with pytest.raises(HelmFailed, match="priority"):
        render({"scheduling": {"userPlaceholder": {"priority": 5}}})
