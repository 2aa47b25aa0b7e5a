"""Whatever a watch tells, in whatever order, and whatever stands in a pod: what is made of it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from himalia.backends.kubernetes.states import is_over, why_ending, why_gone, why_waiting
from himalia.backends.kubernetes.watching import Pods

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LENGTH = 1000


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Make what happened to pods of one name, one after the other."""
    events: list[dict[str, Any]] = []
    lives = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    for uid, changes in enumerate(lives):
        kinds = ["ADDED", *["MODIFIED"] * changes, "DELETED"]
        if uid == len(lives) - 1 and draw(st.booleans()):
            kinds.pop()
        for kind in kinds:
            about = {"name": "p", "namespace": "x", "uid": str(uid)}
            version = {"resourceVersion": str(10 + len(events))}
            events.append({"type": kind, "object": {"metadata": {**about, **version}}})
    return events


@given(histories(), st.data())
def test_in_whatever_order_and_however_often_it_is_told_the_end_of_the_story_stays(
    history: list[dict[str, Any]], data: st.DataObject
) -> None:
    told = [*history, *data.draw(st.lists(st.sampled_from(history), max_size=6))]
    pods = Pods()
    newest = 0
    for event in data.draw(st.permutations(told)):
        pods.apply(copy.deepcopy(event))
        newest = max(newest, int(event["object"]["metadata"]["resourceVersion"]))
        there = pods.there.get("p")
        # What is known never grows older.
        assert there is None or int(there["metadata"]["resourceVersion"]) == newest
    last = history[-1]
    if last["type"] == "DELETED":
        assert pods.there == {}
        assert pods.gone["p"]["metadata"]["uid"] == last["object"]["metadata"]["uid"]
    else:
        assert pods.there["p"]["metadata"] == last["object"]["metadata"]


@given(histories(), st.data())
def test_a_list_that_comes_in_between_changes_nothing_about_the_end(
    history: list[dict[str, Any]], data: st.DataObject
) -> None:
    pods = Pods()
    at = data.draw(st.integers(0, len(history)))
    for event in history[:at]:
        pods.apply(copy.deepcopy(event))
    # As the server had it at some time: before, after, or just then.
    seen = history[: data.draw(st.integers(0, len(history)))]
    last = seen[-1] if seen else None
    listed = [] if last is None or last["type"] == "DELETED" else [copy.deepcopy(last["object"])]
    pods.replace(listed)
    for event in history[at:]:
        pods.apply(copy.deepcopy(event))
    is_there = history[-1]["type"] != "DELETED"
    if at < len(history):
        assert ("p" in pods.there) == is_there


words = st.text(max_size=5) | st.sampled_from(
    [None, "", "Evicted", "OOMKilled", "a\nb", "long " * 500]
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["PodScheduled", "DisruptionTarget", "Ready", "New"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": words,
        "message": words,
    },
)
ends = st.fixed_dictionaries(
    {}, optional={"reason": words, "message": words, "exitCode": st.integers(-1, 255)}
)
containers = st.fixed_dictionaries(
    {},
    optional={
        "image": words,
        "state": st.none()
        | st.fixed_dictionaries(
            {}, optional={"waiting": st.none() | ends, "terminated": st.none() | ends}
        ),
        "lastState": st.none() | st.fixed_dictionaries({}, optional={"terminated": ends}),
    },
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown"]),
        "reason": words,
        "message": words,
        "conditions": st.none() | st.lists(conditions, max_size=3),
        "containerStatuses": st.none() | st.lists(containers, max_size=2),
    },
)
times = st.none() | st.sampled_from(["2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z"])


@given(statuses, times)
def test_whatever_stands_in_a_pod_is_one_status_in_few_words(
    status: dict[str, Any], deleted: str | None
) -> None:
    about = {"name": "p", **({"deletionTimestamp": deleted} if deleted else {})}
    pod = {"metadata": about, "status": status}
    verdict = why_gone(pod)
    for reason in (verdict.reason, why_waiting(pod), why_ending(pod)):
        if reason is not None:
            assert reason.code
            assert reason.next_step
            assert len(reason.message) < LENGTH
            assert "\n" not in reason.message
    # What is over stays so.
    if is_over(pod, NOW):
        assert is_over(pod, NOW + timedelta(days=1))
