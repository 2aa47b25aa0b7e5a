"""Run by alembic: migrates the connection it is given, in the transaction that is open."""

from __future__ import annotations

from alembic import context

from himalia.store.team_tables import people

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=people.metadata,
    transactional_ddl=True,
)
context.run_migrations()
