"""Profiles: who may choose which, and what KubeSpawner makes of them."""

from __future__ import annotations

import pytest

from himalia_hub.kubernetes.offers import for_runs
from himalia_hub.kubernetes.profiles import Profile, bytes_of, offered, open_to

SMALL = {"name": "small", "title": "Small", "cpu": 1, "memory": "2Gi", "is_default": True}
GPU = {"name": "gpu", "gpu": 1, "groups": ["physics"], "node_selector": {"pool": "gpu"}}
MINE = {"name": "mine", "users": ["ann"], "tolerations": [{"key": "own", "operator": "Exists"}]}


@pytest.mark.parametrize(
    ("user", "groups", "names"),
    [
        ("bob", [], ["small"]),
        ("bob", ["physics"], ["small", "gpu"]),
        ("ann", ["chemistry"], ["small", "mine"]),
        ("Ann", ["Physics"], ["small"]),
    ],
)
def test_068_a_profile_is_for_those_whom_it_names(
    user: str, groups: list[str], names: list[str]
) -> None:
    assert [one.name for one in open_to([SMALL, GPU, MINE], user, groups)] == names


def test_profiles_become_what_kubespawner_offers() -> None:
    every = [Profile.model_validate(one) for one in (SMALL, GPU, MINE)]
    small, gpu, mine = offered(every, [{"key": "base"}])
    assert (small["slug"], small["display_name"], small["default"]) == ("small", "Small", True)
    assert small["description"] == "1 core · 2Gi of memory"
    assert small["kubespawner_override"]["mem_limit"] == 2 * 2**30
    assert gpu["kubespawner_override"]["extra_resource_limits"] == {"nvidia.com/gpu": "1"}
    assert gpu["kubespawner_override"]["node_selector"] == {"pool": "gpu"}
    assert gpu["kubespawner_override"]["mem_limit"] is None
    keys = [one["key"] for one in mine["kubespawner_override"]["tolerations"]]
    assert keys == ["base", "own"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("2k", 2000), ("1.5Gi", 3 * 2**29), ("10M", 10**7), ("1Ti", 2**40)],
)
def test_amounts_of_memory_are_read_as_kubernetes_does(text: str, number: int) -> None:
    assert bytes_of(text) == number


@pytest.mark.parametrize("text", ["", "4GB", "-1", "1 Gi", "lots"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        bytes_of(text)


def test_profiles_become_what_runs_are_given() -> None:
    every = [Profile.model_validate(one) for one in (SMALL, GPU, MINE)]
    small, gpu, mine = for_runs(every)
    assert (small.shown.name, small.shown.title, small.shown.cpu) == ("small", "Small", 1)
    assert small.shown.memory_bytes == 2 * 2**30
    assert small.shown.is_default
    assert (gpu.shown.title, gpu.shown.gpu, gpu.node_selector) == ("gpu", 1, {"pool": "gpu"})
    assert mine.tolerations == (MINE["tolerations"][0],)
