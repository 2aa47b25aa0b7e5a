"""What a team's control keeps: people, usage, quotas, notices, the audit log, duties, grants.

What it adds to `runs` may be missing, so that the release before still writes them.

Revision ID: 0002
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_FOREVER = 2**63 - 1


def upgrade() -> None:
    """Add the columns, the indexes and the tables."""
    _add_to_runs()
    _make_people()
    _make_ledger()
    _make_quotas_and_notices()
    _make_audit()
    _make_duties_and_grants()


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _add_to_runs() -> None:
    op.add_column("runs", sa.Column("cpu", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("memory_bytes", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("project", _TEXT, nullable=True))
    op.add_column("runs", sa.Column("held_back", sa.SmallInteger(), nullable=True))
    shown = ["created_at", "id", "owner", "kind", "folded"]
    op.create_index("workloads_of_everybody", "workloads", shown)
    op.create_index("runs_of_everybody", "runs", shown)
    op.create_index("runs_of_everybody_by_status", "runs", ["status", *shown])
    op.create_index("runs_failed", "runs", ["ended_at", "owner"], **_where("status = 'failed'"))


def _make_people() -> None:
    op.create_table(
        "people",
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("folded", _TEXT, nullable=False),
        sa.Column("is_admin", sa.SmallInteger(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("gone_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("owner"),
    )
    is_here = _where("gone_at IS NULL")
    op.create_index("people_by_name", "people", ["folded", "owner"], **is_here)
    op.create_index("people_by_last_seen", "people", ["last_seen_at", "owner"], **is_here)
    op.create_table(
        "memberships",
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("group_name", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["people.owner"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "group_name"),
    )
    op.create_index("memberships_by_group", "memberships", ["group_name", "owner"])
    op.create_table(
        "accounts",
        sa.Column("issuer", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("looks", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject"),
        sa.UniqueConstraint("looks"),
    )


def _make_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("project", _TEXT, nullable=False),
        sa.Column("object_id", _TEXT, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ledger_by_start", "ledger", ["started_at", "id", "ended_at"])
    op.create_index("ledger_by_owner", "ledger", ["owner", "started_at", "id", "ended_at"])
    is_open = _where(f"ended_at = {_FOREVER}")
    op.create_index("ledger_open", "ledger", ["owner", "kind", "id", "started_at"], **is_open)
    op.create_table(
        "ledger_groups",
        sa.Column("entry_id", _TEXT, nullable=False),
        sa.Column("group_name", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["ledger.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id", "group_name"),
    )
    op.create_index("ledger_groups_by_name", "ledger_groups", ["group_name", "entry_id"])
    op.create_table(
        "months",
        sa.Column("month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("scope", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month", "scope", "subject"),
    )


def _make_quotas_and_notices() -> None:
    op.create_table(
        "quotas",
        sa.Column("scope", _TEXT, nullable=False),
        sa.Column("subject", _TEXT, nullable=False),
        sa.Column("running", sa.Integer(), nullable=True),
        sa.Column("cpu", sa.Double(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("run_hours", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("scope", "subject"),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("banner", sa.Text(), nullable=False),
        sa.Column("is_draining", sa.SmallInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_by", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _make_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("object_id", _TEXT, nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("folded", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_time", "audit", ["at", "id", "folded"])
    op.create_index("audit_by_owner", "audit", ["owner", "at", "id"])
    if op.get_context().dialect.name == "sqlite":
        for what in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER audit_without_{what} BEFORE {what.upper()} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_without_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "EXECUTE FUNCTION audit_is_appended_to()"
    )


def _make_duties_and_grants() -> None:
    op.create_table(
        "duties",
        sa.Column("duty", _TEXT, nullable=False),
        sa.Column("holder", _TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("duty"),
    )
    op.create_index("duties_by_holder", "duties", ["holder"])
    op.create_table(
        "grants",
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("grants_by_owner", "grants", ["owner", "run_id"])
    op.create_index("grants_by_run", "grants", ["run_id"])
    op.create_index("grants_by_end", "grants", ["expires_at"])
    op.create_table(
        "changes",
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("part"),
    )
