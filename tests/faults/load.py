"""Work on a database that is being broken: submitted, claimed and ended, over and over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from himalia.core.errors import Unavailable
from himalia.core.flows import new_run
from himalia.core.model import Status, Trigger, Workload
from himalia.core.spec import Spec
from himalia.store.base import Change, Key, Spell, Store

ENOUGH = 20


class Load:
    """Clients that submit and repeat what they got no answer to, and controls that work it off."""

    def __init__(self, store: Store, workload: Workload[Spec]) -> None:
        self.store = store
        self.workload = workload
        self.acknowledged: dict[str, str] = {}
        """Run by key."""
        self.ended: list[str] = []
        self.refusals: list[str] = []
        self.answered_mono = time.monotonic()
        self.is_over = False

    async def go(self, trouble: Awaitable[None]) -> None:
        """Work while there is trouble, and until enough was done to look at."""
        clients = [self._submit(number) for number in range(3)]
        controls = [self._control(f"h{number}") for number in range(2)]
        tasks = [asyncio.create_task(one) for one in (*clients, *controls)]
        await trouble
        while len(self.acknowledged) <= ENOUGH or len(self.ended) <= ENOUGH:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self.is_over = True
        await asyncio.gather(*tasks)

    async def _submit(self, client: int) -> None:
        number = 0
        while not self.is_over:
            number += 1
            name = f"{client}-{number}"
            run = new_run(self.workload, trigger=Trigger.USER)
            while name not in self.acknowledged:
                made = await self._ask(
                    lambda run=run, name=name: self.store.runs.insert(
                        [run], key=Key(owner="ann", key=name, digest="d")
                    )
                )
                if made is not None:
                    self.acknowledged[name] = made.id

    async def _control(self, holder: str) -> None:
        while not self.is_over:
            now = datetime.now(UTC)
            soon = now + timedelta(seconds=1)
            taken = await self._ask(
                lambda now=now, soon=soon: self.store.holds.take_over(
                    holder, now=now, lease_until=soon, own=False
                )
            )
            claimed = await self._ask(
                lambda now=now, soon=soon: self.store.holds.claim(
                    holder, now=now, lease_until=soon, limit=3
                )
            )
            for held in (*(taken or ()), *(claimed or ())):
                change = Change(status=Status.SUCCEEDED, spell=Spell(until=datetime.now(UTC)))
                done = await self._ask(
                    lambda held=held, change=change: self.store.holds.change(
                        held.run.id, held.token, change
                    )
                )
                if done is not None:
                    self.ended.append(done.id)
            await asyncio.sleep(0.005)

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call; what is refused, is refused with the one error that says to try again."""
        try:
            answer = await call()
        except Unavailable as error:
            self.refusals.append(error.message)
            await asyncio.sleep(0.02)
            return None
        self.answered_mono = time.monotonic()
        return answer
