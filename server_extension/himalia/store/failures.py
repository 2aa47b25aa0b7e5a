"""What fails in a database, in plain words."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

from himalia.core.errors import Unavailable


def explained(error: DBAPIError, path: str | None) -> Unavailable | None:
    """Turn a failure of the database itself, not of a statement, into plain words."""
    cause = error.orig
    if not isinstance(cause, sqlite3.Error):
        told = _STATES.get(getattr(cause, "sqlstate", None) or _refused(str(cause)))
        is_lost = isinstance(error, OperationalError) or error.connection_invalidated
        if told is None and not is_lost:
            return None
        return Unavailable(told or LOST)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    text = _TEXTS.get(code)
    return None if text is None else Unavailable(text.format(path=path))


def _refused(said: str) -> str:
    """Read why a connection was refused from words: the driver passes no code on for that."""
    return next((code for words, code in _REFUSALS.items() if words in said), "")


COLLISIONS = frozenset({"40001", "40P01"})
"""Serialization failures and deadlocks: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
LOST = "The database cannot be reached just now. Nothing was lost; try again in a moment."
_BUSY = "The database is busy. Try again in a moment."
_REFUSALS = {
    "authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "does not exist": "3D000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "too many connections": "53300",
}
_STATES = {
    "25006": "The database takes no changes just now. Try again in a moment.",
    "28000": "The database refuses this login. Ask your admin to check the database's address.",
    "28P01": "The database refuses this login. Ask your admin to check the database's address.",
    "3D000": "There is no such database. Ask your admin to check the database's address.",
    "53100": "The database's disk is full. Ask your admin to free some space.",
    "53300": "The database has no connection to spare. Try again in a moment.",
    "55P03": _BUSY,
    "57014": _BUSY,
}

DAMAGED = (
    "The store {path} is damaged, and nothing was changed. Put back a copy of it, or move it and "
    "the files beside it (-wal, -shm) away to start with an empty one."
)
_TEXTS = {
    sqlite3.SQLITE_FULL: "The disk that holds {path} is full. Free some space and try again.",
    sqlite3.SQLITE_BUSY: "The store {path} is busy. Try again in a moment.",
    sqlite3.SQLITE_LOCKED: "The store {path} is busy. Try again in a moment.",
    sqlite3.SQLITE_IOERR: "The disk that holds {path} failed or is full. Check it and try again.",
    sqlite3.SQLITE_READONLY: "The store {path} cannot be written. Check who owns the file.",
    sqlite3.SQLITE_CANTOPEN: "The store {path} cannot be opened. Check its folder's permissions.",
    sqlite3.SQLITE_PERM: "The store {path} cannot be opened. Check who owns the file.",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
}
