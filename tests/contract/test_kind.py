"""Every kind: its example is valid, survives storage, and plans."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from himalia.core.errors import NotFound
from himalia.core.flows import new_run
from himalia.core.model import Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.kinds.base import Kind
from himalia.kinds.registry import Kinds, load_kinds


@pytest.fixture(params=sorted(load_kinds()))
def kind(request: pytest.FixtureRequest) -> Kind[Any]:
    """Each kind that is installed."""
    return load_kinds()[request.param]


@pytest.fixture
def workload(kind: Kind[Any], tmp_path: Path) -> Workload[Spec]:
    """A stored workload with the kind's example."""
    now = datetime.now(UTC)
    return Workload[Spec](
        id=new_id("job"),
        kind=kind.name,
        owner="alice",
        name=kind.title(kind.example),
        spec=kind.example,
        root=str(tmp_path),
        created_at=now,
        updated_at=now,
    )


def test_the_example_survives_being_stored(kind):
    stored = json.loads(json.dumps(kind.example.model_dump(mode="json")))
    assert Kinds([kind]).decode_spec(kind.name, stored) == kind.example


def test_a_workload_without_a_name_is_named_after_its_spec(kind):
    assert 0 < len(kind.title(kind.example)) <= 200


def test_a_plan_is_made_from_the_run_alone_and_is_always_the_same(kind, workload):
    run = new_run(workload, trigger=Trigger.USER)
    plan = kind.plan(workload, run, None)
    assert plan == kind.plan(workload, run, None)
    assert json.loads(json.dumps(plan.task)) == plan.task
    assert plan.timeout_seconds == workload.spec.timeout_seconds
    assert plan.snapshot_digest == run.snapshot_digest


def test_what_a_run_goes_on_from_is_in_its_plan(kind, workload, tmp_path):
    run = new_run(workload, trigger=Trigger.USER)
    plan = kind.plan(workload, run, tmp_path / "earlier")
    assert str(tmp_path / "earlier") in json.dumps(plan.task)


def test_a_kind_is_found_by_its_name_and_by_its_collection(kind):
    kinds = load_kinds()
    assert type(kinds.of(kind.name)) is type(kind)
    assert type(kinds.of_collection(kind.collection)) is type(kind)


@pytest.mark.parametrize("look_up", ["of", "of_collection"])
def test_a_kind_that_is_not_installed_is_not_found(look_up):
    with pytest.raises(NotFound):
        getattr(load_kinds(), look_up)("nothing")
