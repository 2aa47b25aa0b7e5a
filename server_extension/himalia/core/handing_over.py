"""Giving everything of one owner to another: files first, then rows."""

from __future__ import annotations

from himalia.core.errors import Conflict
from himalia.core.model import TERMINAL, Status
from himalia.core.premises import Premises
from himalia.core.service import RunQuery
from himalia.store.base import Store
from himalia.store.team import PeopleStore

_RUNS_A_STEP = 500


async def hand_over(
    *, store: Store, people: PeopleStore, premises: Premises, owner: str, heir: str
) -> int:
    """Give all workloads of `owner`, with runs, schedules and files, to `heir`; count them.

    May be repeated after any failure: files are copied, and the rows move at once.

    :raises Conflict: a run of them has not ended.
    :raises Unavailable: the files cannot be handed over now; nothing has moved.
    """
    unended = tuple(status for status in Status if status not in TERMINAL)
    found = await store.runs.list(owner, RunQuery(limit=1, statuses=unended))
    if found.items:
        # Asked before much is copied; the store asks again.
        raise Conflict("A run of theirs has not ended. Stop it, or wait for its end.")
    digests = await store.workloads.snapshots(owner)
    run_ids: list[str] = []
    while some := await premises.runs(
        owner, after=run_ids[-1] if run_ids else "", limit=_RUNS_A_STEP
    ):
        run_ids += some
    await premises.hand_over(owner, heir, sorted(digests), run_ids)
    return await people.transfer(owner, heir)
