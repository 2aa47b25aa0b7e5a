"""What is refused when it is submitted, since waiting would not help it."""

from __future__ import annotations

from datetime import UTC, datetime

from himalia.core.errors import InvalidInput, TooMany
from himalia.core.quotas import CPU_OF_ONE, exceeds, refusal_of_month
from himalia.core.spec import Spec
from himalia.store.team import TeamStore


async def admit(team: TeamStore, owner: str, spec: Spec) -> None:
    """Refuse a run that a quota lets not even wait.

    What only others' end can make room for is admitted, and waits in the queue.

    :raises InvalidInput: it alone asks for more than a quota allows at once.
    :raises TooMany: no run may start any more in this month, or at all.
    """
    now = datetime.now(UTC)
    cpu = spec.resources.cpu or CPU_OF_ONE
    memory_bytes = spec.resources.memory_bytes or 0
    for standing in await team.quotas.standings(owner, now):
        told = exceeds(standing.quota, cpu, memory_bytes)
        if told is not None:
            resource, reason = told
            text = f"{reason.message} {reason.next_step}"
            if resource == "running":
                raise TooMany(text)
            raise InvalidInput.of(f"spec.resources.{resource}", text)
        used_up = refusal_of_month(standing.quota, standing.run_hours, now)
        if used_up is not None:
            raise TooMany(f"{used_up.message} {used_up.next_step}")
