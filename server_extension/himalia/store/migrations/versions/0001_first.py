"""Workloads, runs, schedules and the messages about them: the first schema.

Revision ID: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table."""
    _make_compatibility()
    _make_workloads()
    _make_runs()
    _make_indexes_of_runs()
    _make_schedules()
    _make_keys_and_messages()


def _where(condition: sa.TextClause) -> dict[str, Any]:
    return {"sqlite_where": condition, "postgresql_where": condition}


def _make_compatibility() -> None:
    table = op.create_table(
        "compatibility",
        sa.Column("oldest_reader", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("oldest_reader"),
    )
    op.bulk_insert(table, [{"oldest_reader": "0001"}])


def _make_workloads() -> None:
    op.create_table(
        "workloads",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("folded", _TEXT, nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("snapshot_digest", _TEXT, nullable=True),
        sa.Column("keep_runs", sa.Integer(), nullable=True),
        sa.Column("keep_micros", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "workloads_by_created", "workloads", ["owner", "kind", "created_at", "id", "folded"]
    )
    op.create_index("workloads_by_name", "workloads", ["owner", "kind", "folded", "id"])
    op.create_index("workloads_by_snapshot", "workloads", ["snapshot_digest"])
    for limit in ("keep_runs", "keep_micros"):
        condition = sa.text(f"{limit} IS NOT NULL")
        op.create_index(f"workloads_with_{limit}", "workloads", ["id"], **_where(condition))
    op.create_index(
        "workloads_by_updated", "workloads", ["owner", "kind", "updated_at", "id", "folded"]
    )
    op.create_table(
        "workload_tags",
        sa.Column("object_id", _TEXT, nullable=False),
        sa.Column("tag", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["object_id"], ["workloads.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_id", "tag"),
    )
    op.create_index(
        "workload_tags_by_created", "workload_tags", ["owner", "tag", "created_at", "object_id"]
    )
    op.create_table(
        "dependencies",
        sa.Column("downstream", _TEXT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("upstream", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("condition", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["downstream"], ["workloads.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["upstream"],
            ["workloads.id"],
        ),
        sa.PrimaryKeyConstraint("downstream", "position"),
    )
    op.create_index("dependencies_by_owner", "dependencies", ["owner"])
    op.create_index("dependencies_by_upstream", "dependencies", ["upstream"])


def _make_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("workload_id", _TEXT, nullable=False),
        sa.Column("workload_name", _TEXT, nullable=False),
        sa.Column("folded", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("trigger", _TEXT, nullable=False),
        sa.Column("target", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("live", _TEXT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost_attempts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("snapshot_digest", _TEXT, nullable=True),
        sa.Column("flow_id", _TEXT, nullable=False),
        sa.Column("rerun_of", _TEXT, nullable=True),
        sa.Column("from_failed_cell", sa.SmallInteger(), nullable=False),
        sa.Column("schedule_id", _TEXT, nullable=True),
        sa.Column("tick_at", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("use", sa.Text(), nullable=True),
        sa.Column("versions", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("holder", _TEXT, nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workload_id"],
            ["workloads.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "run_tags",
        sa.Column("object_id", _TEXT, nullable=False),
        sa.Column("tag", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["object_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_id", "tag"),
    )
    op.create_index("run_tags_by_created", "run_tags", ["owner", "tag", "created_at", "object_id"])


def _make_indexes_of_runs() -> None:
    op.create_index("runs_by_created", "runs", ["owner", "created_at", "id", "folded"])
    op.create_index("runs_by_ended", "runs", ["owner", "ended_at", "id", "folded"])
    op.create_index("runs_by_flow", "runs", ["flow_id", "live"])
    op.create_index(
        "runs_by_schedule",
        "runs",
        ["schedule_id", "owner", "created_at", "id"],
        **_where(sa.text("schedule_id IS NOT NULL")),
    )
    op.create_index("runs_by_snapshot", "runs", ["snapshot_digest"])
    op.create_index("runs_by_status", "runs", ["owner", "status", "created_at", "id"])
    op.create_index("runs_by_status_ended", "runs", ["owner", "status", "ended_at", "id"])
    op.create_index("runs_by_workload", "runs", ["workload_id", "owner", "created_at", "id"])
    op.create_index("runs_by_workload_ended", "runs", ["workload_id", "owner", "ended_at", "id"])
    op.create_index(
        "runs_live",
        "runs",
        ["live", "owner", "created_at", "id"],
        **_where(sa.text("live IS NOT NULL")),
    )
    op.create_index(
        "runs_live_by_schedule",
        "runs",
        ["schedule_id", "live"],
        **_where(sa.text("live IS NOT NULL")),
    )
    op.create_index(
        "runs_live_by_workload",
        "runs",
        ["workload_id", "live"],
        **_where(sa.text("live IS NOT NULL")),
    )
    op.create_index(
        "runs_one_per_tick",
        "runs",
        ["schedule_id", "tick_at"],
        unique=True,
        **_where(sa.text("tick_at IS NOT NULL AND \"trigger\" = 'schedule'")),
    )


def _make_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("workload_id", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("cron", _TEXT, nullable=False),
        sa.Column("time_zone", _TEXT, nullable=False),
        sa.Column("overlap", _TEXT, nullable=False),
        sa.Column("missed", _TEXT, nullable=False),
        sa.Column("inputs", _TEXT, nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("paused", sa.SmallInteger(), nullable=False),
        sa.Column("next_tick_at", sa.BigInteger(), nullable=False),
        sa.Column("last_tick_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["workload_id"], ["workloads.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("schedules_by_created", "schedules", ["owner", "created_at", "id"])
    op.create_index("schedules_by_next_tick", "schedules", ["owner", "next_tick_at", "id"])
    op.create_index("schedules_by_workload", "schedules", ["workload_id"])
    op.create_index("schedules_due", "schedules", ["paused", "next_tick_at"])


def _make_keys_and_messages() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("object_id", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    op.create_index("idempotency_keys_by_object", "idempotency_keys", ["object_id"])
    op.create_table(
        "messages",
        sa.Column("id", _TEXT, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("messages_by_time", "messages", ["not_before"])
