"""Threats 36 and 80: a flood of runs is refused at a limit, however they race for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from himalia.backends.local.backend import LocalBackend
from himalia.core.errors import TooMany
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.model import RunDraft, Status, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller, RunQuery
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore

pytestmark = pytest.mark.asyncio

LIMIT = 5


@pytest_asyncio.fixture
async def service(tmp_path) -> AsyncIterator[LocalService]:
    """A service that starts nothing, so that what is queued stays queued."""
    places = Places(home=tmp_path / "home").prepare()
    kinds = load_kinds()
    service = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=LocalBackend(places),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=0, max_unended=LIMIT),
    )
    await service.open()
    yield service
    await service.close()


@pytest.fixture
def caller(tmp_path) -> Caller:
    root = tmp_path / "root"
    root.mkdir()
    (root / "nb.ipynb").write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": []}))
    return Caller(owner="alice", root=root)


async def test_080_runs_over_the_limit_are_refused_and_leave_nothing(service, caller):
    draft = WorkloadDraft[Spec](spec=JobSpec(notebook="nb.ipynb"))
    workload = await service.workloads.create(caller, "job", draft)
    starts = [service.runs.start(caller, "job", workload.id, RunDraft()) for _ in range(20)]
    results = await asyncio.gather(*starts, return_exceptions=True)
    refused = [result for result in results if isinstance(result, TooMany)]
    assert len(refused) == len(results) - (LIMIT - 1)
    assert "Try again" in refused[0].message
    page = await service.runs.list(caller, RunQuery(limit=100))
    assert len(page.items) == LIMIT
    with pytest.raises(TooMany):
        await service.workloads.create(caller, "job", draft)


async def test_080_a_place_that_is_free_again_is_given_again(service, caller):
    draft = WorkloadDraft[Spec](spec=JobSpec(notebook="nb.ipynb"))
    made = [await service.workloads.create(caller, "job", draft) for _ in range(LIMIT)]
    last = made[-1].last_run
    assert last is not None
    assert (await service.runs.stop(caller, last.id)).status is Status.STOPPED
    assert (await service.workloads.create(caller, "job", draft)).last_run is not None
