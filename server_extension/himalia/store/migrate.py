"""Migrate a store: ``python -m himalia.store.migrate < address``.

A program of its own, since alembic is large and needed once a release. All migrations run in
one transaction, so a kill leaves the store as it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from himalia.store.database import lock, make_engine, store_url, transact

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(address: str, target: str = "head") -> None:
    """Bring the store at `address`, a URL or a path, to a revision.

    :raises Unavailable: the store cannot be reached.
    """
    engine = make_engine(store_url(address), is_patient=True)
    try:
        transact(engine, True, _upgrade, (target,))
    finally:
        engine.dispose()


def configuration() -> Config:
    """Make alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _upgrade(connection: Connection, target: str) -> None:
    lock(connection, "schema")
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, target)


if __name__ == "__main__":
    upgrade(sys.stdin.read().strip())
