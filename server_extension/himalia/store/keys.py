"""Idempotency keys: the same request sent twice makes one object."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from himalia.core.errors import Conflict
from himalia.store.base import Key
from himalia.store.tables import idempotency_keys


def reserve(connection: Connection, key: Key, object_id: str) -> str | None:
    """Bind `key` to `object_id`, or return the id of the object that it was used for.

    :raises Conflict: it was used with another digest.
    """
    found = find(connection, key)
    if found is not None:
        return found
    try:
        with connection.begin_nested():
            connection.execute(
                insert(idempotency_keys),
                {"owner": key.owner, "key": key.key, "digest": key.digest, "object_id": object_id},
            )
    except IntegrityError:
        # Another transaction was first, and has been committed: that is when the insert fails.
        return find(connection, key)
    return None


def find(connection: Connection, key: Key) -> str | None:
    """Return the id of the object that `key` was used for.

    :raises Conflict: it was used with another digest.
    """
    table = idempotency_keys.c
    row = connection.execute(
        select(table.digest, table.object_id).where(table.owner == key.owner, table.key == key.key)
    ).one_or_none()
    if row is None:
        return None
    if row.digest != key.digest:
        raise Conflict("The idempotency key was used before, with another request.")
    return str(row.object_id)


def forget(connection: Connection, object_ids: Iterable[str]) -> None:
    """Drop the keys of deleted objects."""
    connection.execute(
        delete(idempotency_keys).where(idempotency_keys.c.object_id.in_(list(object_ids)))
    )
