"""Rows that are stored or, where they are there, changed: the dialects write it alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert = postgresql.Insert | sqlite.Insert


def insert_into(connection: Connection, table: Table) -> Insert:
    """Begin an insert that may be followed by what is done where the row is there."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def add(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Store rows; those that are there stay as they are."""
    if rows:
        connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)


def put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Store a row in the place of the one with the same key."""
    keys = [column.name for column in table.primary_key]
    statement = insert_into(connection, table).values(row)
    rest = {name: value for name, value in row.items() if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))
