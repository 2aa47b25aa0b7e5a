"""Places in the queue, as well as they can be told beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, func, select

from himalia.core.model import Run, Status
from himalia.store.database import batched
from himalia.store.tables import runs

_is_queued = runs.c.live == Status.QUEUED.value


def placed(connection: Connection, some: Collection[Run]) -> tuple[Run, ...]:
    """Return the runs with the `position` of those that are queued.

    It counts the runs that come before if the owners take turns; others' that a quota keeps do not.
    """
    places = _places(connection, some)
    return tuple(
        run.model_copy(update={"position": places[run.id]}) if run.id in places else run
        for run in some
    )


def _places(connection: Connection, some: Collection[Run]) -> dict[str, int]:
    queued = {run.id: run.owner for run in some if run.status is Status.QUEUED}
    if not queued:
        return {}
    by_owner = (
        select(runs.c.owner, func.count())
        .where(_is_queued, runs.c.held_back.is_(None))
        .group_by(runs.c.owner)
    )
    others = {row[0]: int(row[1]) for row in connection.execute(by_owner)}
    alike = Counter(others.values())
    found = {}
    for run_id, ahead in _ahead(connection, queued).items():
        before = sum(owners * min(count, ahead) for count, owners in alike.items())
        own = min(others.get(queued[run_id], 0), ahead)
        found[run_id] = 1 + ahead + before - own
    return found


def _ahead(connection: Connection, queued: dict[str, str]) -> dict[str, int]:
    """Count the earlier ones of each run's own owner."""
    found: dict[str, int] = {}
    earlier = func.row_number().over(
        partition_by=runs.c.owner, order_by=(runs.c.created_at, runs.c.id)
    )
    for owners in batched(sorted(set(queued.values()))):
        ranked = (
            select(runs.c.id, (earlier - 1).label("ahead"))
            .where(_is_queued, runs.c.owner.in_(owners))
            .subquery()
        )
        for ids in batched(sorted(queued)):
            rows = connection.execute(select(ranked).where(ranked.c.id.in_(ids)))
            found |= {row.id: row.ahead for row in rows}
    return found
