"""Every store keeps why a run is where it is, and no longer than that is so."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.core.model import Reason, Status
from himalia.store.base import Change, Store

pytestmark = pytest.mark.asyncio

WHY = Reason(code="cell_failed", message="Cell 3 failed.")


async def test_a_reason_that_is_whole_ends_the_one_before_but_not_what_who_stopped_it_said(
    store: Store, make: Any
) -> None:
    held = await make.held(store, await make.stored(store))

    async def say(reason: Reason | None) -> Reason | None:
        change = Change(status=Status.RUNNING, reason=reason, is_reason_whole=True)
        written = await store.holds.change(held.run.id, held.token, change)
        assert written is not None
        return written.reason

    assert await say(WHY) == WHY
    assert await say(None) is None
    asked = Reason(code="replaced", message="The next tick came.")
    await store.runs.request_stop("ann", held.run.id, make.now, reason=asked)
    assert await say(WHY) == asked
    assert await say(None) == asked
