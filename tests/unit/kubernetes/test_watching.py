"""What a watch tells comes late, twice and in the wrong order; what is known stays right."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from himalia.backends.kubernetes.watching import Pods


def state(version: int, uid: str = "a", name: str = "p") -> dict[str, Any]:
    about = {"name": name, "uid": uid, "resourceVersion": str(version), "managedFields": [1]}
    return {"metadata": about, "status": {}}


def event(kind: str, version: int, uid: str = "a") -> dict[str, Any]:
    return {"type": kind, "object": state(version, uid)}


def version_of(pods: Pods) -> str | None:
    pod = pods.there.get("p")
    return pod["metadata"]["resourceVersion"] if pod is not None else None


def test_a_repeated_or_older_event_is_no_news() -> None:
    pods = Pods()
    assert pods.apply(event("ADDED", 5))
    assert not pods.apply(event("ADDED", 5))
    assert not pods.apply(event("MODIFIED", 3))
    assert pods.apply(event("MODIFIED", 7))
    assert not pods.apply({"type": "BOOKMARK", "object": state(9)})
    assert version_of(pods) == "7"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_in_whatever_order_the_last_state_stays(order: tuple[int, ...]) -> None:
    pods = Pods()
    told = [event("ADDED", 5), event("MODIFIED", 6), event("MODIFIED", 7)]
    for number in order:
        pods.apply(told[number])
    assert version_of(pods) == "7"


def test_what_is_gone_does_not_come_back_by_an_old_event() -> None:
    pods = Pods()
    pods.apply(event("ADDED", 5))
    assert pods.apply(event("DELETED", 8))
    assert not pods.apply(event("MODIFIED", 6))
    assert not pods.apply(event("DELETED", 8))
    assert pods.there == {}
    assert pods.gone["p"]["metadata"]["resourceVersion"] == "8"


def test_the_end_of_a_pod_is_not_that_of_the_next_of_its_name() -> None:
    pods = Pods()
    pods.put(state(9, uid="b"))
    assert not pods.apply(event("DELETED", 8, uid="a"))
    assert version_of(pods) == "9"


def test_a_new_list_takes_away_what_it_does_not_have() -> None:
    pods = Pods()
    pods.replace([state(1), state(2, uid="q", name="q")])
    assert pods.replace([state(3)])
    assert set(pods.there) == {"p"}
    assert set(pods.gone) == {"q"}
    assert not pods.replace([state(3)])
    # A list that was made before something that is known here already does not undo it.
    pods.put(state(10))
    pods.replace([state(3)])
    assert version_of(pods) == "10"


def test_what_is_remembered_is_bounded_and_small() -> None:
    pods = Pods()
    for number in range(500):
        one = state(number + 1, uid=str(number), name=f"p{number}")
        pods.put(one)
        assert "managedFields" not in one["metadata"]
        pods.drop(one)
    assert len(pods.gone) == 200
    assert pods.there == {}
