"""A number that grows with every change that a page of everybody's things may show."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from himalia.store.team_tables import changes
from himalia.store.upserts import insert_into

_NOTED = "himalia_noted_change"
_PARTS = 64


def note(connection: Connection) -> None:
    """Have this transaction counted when it ends."""
    connection.info[_NOTED] = True


def forget(connection: Connection) -> None:
    """Forget what a transaction before this one noted and did not commit."""
    connection.info.pop(_NOTED, None)


def count(connection: Connection) -> None:
    """Count the transaction, if it noted a change; the last thing before its commit.

    Last, so that the row that is counted in is locked for no longer than the commit takes; in one
    row of many, so that connections do not wait for each other.
    """
    if not connection.info.pop(_NOTED, False):
        return
    is_postgres = connection.dialect.name == "postgresql"
    part: Any = literal_column(f"pg_backend_pid() % {_PARTS}") if is_postgres else 0
    added = insert_into(connection, changes).values(part=part, number=1)
    grown = {"number": changes.c.number + 1}
    connection.execute(added.on_conflict_do_update(index_elements=["part"], set_=grown))


def revision(connection: Connection) -> int:
    """Return the number."""
    return int(connection.scalar(select(func.sum(changes.c.number))) or 0)
