"""The passage of flows: runs that wait for others are queued or skipped when those have ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from himalia.core.errors import Unavailable
from himalia.core.flows import judge, missing
from himalia.core.model import Run, Status
from himalia.core.service import RunQuery
from himalia.store.base import Store

_log = logging.getLogger(__name__)

_RAN = (Status.SUCCEEDED, Status.FAILED, Status.STOPPED)


class Passage:
    """Settles waiting runs, from the store alone, so that a crash in between changes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def judge(self) -> tuple[Run, ...]:
        """Settle all that can be settled now; return the runs that were."""
        settled: list[Run] = []
        for flow in await self._store.runs.waiting():
            try:
                settled += await self._judge_flow(flow)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - logged, and the rest goes on
                _log.exception("judging flow %s", flow[0].flow_id)
        if settled:
            # A run that was skipped may decide about the next ones.
            settled += await self.judge()
        return tuple(settled)

    async def _judge_flow(self, flow: Sequence[Run]) -> list[Run]:
        owner = flow[0].owner
        edges = await self._store.workloads.edges(owner)
        latest = await self._latest(owner, missing(flow, edges))
        settled = []
        for verdict in judge(flow, edges, latest):
            run = await self._store.runs.settle(verdict.run_id, verdict.status, verdict.reason)
            if run is not None:
                settled.append(run)
        return settled

    async def _latest(self, owner: str, workloads: Iterable[str]) -> dict[str, Run | None]:
        latest: dict[str, Run | None] = {}
        for workload_id in workloads:
            query = RunQuery(workload_id=workload_id, statuses=_RAN, sort="-ended_at", limit=1)
            page = await self._store.runs.list(owner, query)
            latest[workload_id] = page.items[0] if page.items else None
        return latest
