"""What a watch tells comes late, twice and in the wrong order; what is known stays right."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from himalia.backends.kubernetes.watching import Pods, Watching
from tests.servers.patience import PATIENCE_SECONDS
from tests.unit.kubernetes.script import Handler, asked, hangs, says, streams


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
        assert "managedFields" not in pods.there[f"p{number}"]["metadata"]
        pods.drop(one)
    assert len(pods.gone) == 200
    assert pods.there == {}


def of(namespace: str, name: str, version: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": name,
                     "resourceVersion": str(version), "managedFields": [1]},
        "spec": {"containers": ["long"]},
        "status": {"phase": "Running"},
    }  # fmt: skip


def page(version: int, *pods: Any, onward: str = "") -> Handler:
    about = {"resourceVersion": str(version), "continue": onward}
    return says(200, body={"metadata": about, "items": list(pods)})


@pytest.mark.asyncio
async def test_one_watch_may_follow_the_pods_of_all_who_are_asked_for(tmp_path: Path) -> None:
    told: list[str] = []
    script = (
        page(9, of("a", "p", 3), of("other", "p", 4), onward="more"),
        page(9, of("b", "q", 5)),
        streams(
            {"type": "MODIFIED", "object": of("b", "q", 11)},
            {"type": "ADDED", "object": of("other", "r", 12)},
            {"type": "DELETED", "object": of("a", "p", 13)},
        ),
        hangs,
    )
    async with asked(tmp_path, *script) as (api, server):
        watching = Watching(api, told.append, is_of_all=True)
        a, b = watching.pods("a"), watching.pods("b")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "p" not in a.gone:  # noqa: ASYNC110 - the state itself is what is tested
                await asyncio.sleep(0.01)
        await watching.close()
    assert told == ["a", "b", "b", "a"]
    assert {name: pod["metadata"]["resourceVersion"] for name, pod in b.there.items()} == {
        "q": "11"
    }
    # Of each only what is asked for later is kept.
    assert "spec" not in b.there["q"]
    assert "managedFields" not in b.there["q"]["metadata"]
    lists, watches = server.requests[:2], server.requests[2]
    assert [one.path for one in server.requests[:3]] == ["/api/v1/pods"] * 3
    assert [one.query.get("continue", "") for one in lists] == ["", "more"]
    assert all(one.query["limit"] == "500" for one in lists)
    assert watches.query["resourceVersion"] == "9"
