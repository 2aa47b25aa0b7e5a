"""The tables and the indexes that keep every question flat in the number of rows.

Times are integers, microseconds since 1970 in UTC. A time that sorts and may be missing is
`FOREVER` instead of NULL, so that keyset paging needs no case for it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

HEAD = "0003"
"""The revision of the schema below: the newest file in ``migrations/versions``."""

OLDEST_READER = "0001"
"""The oldest revision whose releases still run on the schema below: at least the one before
`HEAD`, so that a release can be taken back, and two can run side by side during an upgrade."""

FOREVER = 2**63 - 1

metadata = MetaData()

# Ordered by code point in every dialect, as SQLite does: cursors compare text.
text_type = Text().with_variant(Text(collation="C"), "postgresql")


def _id(name: str, *constraints: ForeignKey, nullable: bool = False) -> Column[str]:
    return Column(name, text_type, *constraints, nullable=nullable)


revision = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

compatibility = Table(
    "compatibility",
    metadata,
    Column("oldest_reader", String(32), nullable=False),
    PrimaryKeyConstraint("oldest_reader"),
)

workloads = Table(
    "workloads",
    metadata,
    Column("id", text_type, primary_key=True),
    Column("kind", text_type, nullable=False),
    Column("owner", text_type, nullable=False),
    Column("name", text_type, nullable=False),
    Column("folded", text_type, nullable=False),
    Column("spec", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("snapshot", Text),
    Column("snapshot_digest", text_type),
    Column("keep_runs", Integer),
    Column("keep_micros", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
# `folded` rides along so that a search reads the index alone until it finds a match.
Index(
    "workloads_by_created",
    workloads.c.owner,
    workloads.c.kind,
    workloads.c.created_at,
    workloads.c.id,
    workloads.c.folded,
)
Index(
    "workloads_by_updated",
    workloads.c.owner,
    workloads.c.kind,
    workloads.c.updated_at,
    workloads.c.id,
    workloads.c.folded,
)
Index(
    "workloads_of_everybody",
    workloads.c.created_at,
    workloads.c.id,
    workloads.c.owner,
    workloads.c.kind,
    workloads.c.folded,
)
Index("workloads_by_name", workloads.c.owner, workloads.c.kind, workloads.c.folded, workloads.c.id)
Index("workloads_by_snapshot", workloads.c.snapshot_digest)
for _limit in (workloads.c.keep_runs, workloads.c.keep_micros):
    Index(
        f"workloads_with_{_limit.name}",
        workloads.c.id,
        sqlite_where=_limit.is_not(None),
        postgresql_where=_limit.is_not(None),
    )

workload_tags = Table(
    "workload_tags",
    metadata,
    Column(
        "object_id", text_type, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("tag", text_type, primary_key=True),
    Column("owner", text_type, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index(
    "workload_tags_by_created",
    workload_tags.c.owner,
    workload_tags.c.tag,
    workload_tags.c.created_at,
    workload_tags.c.object_id,
)

dependencies = Table(
    "dependencies",
    metadata,
    Column(
        "downstream", text_type, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("position", Integer, primary_key=True),
    _id("upstream", ForeignKey("workloads.id")),
    Column("owner", text_type, nullable=False),
    Column("condition", text_type, nullable=False),
)
Index("dependencies_by_upstream", dependencies.c.upstream)
Index("dependencies_by_owner", dependencies.c.owner)

runs = Table(
    "runs",
    metadata,
    Column("id", text_type, primary_key=True),
    _id("workload_id", ForeignKey("workloads.id")),
    Column("workload_name", text_type, nullable=False),
    Column("folded", text_type, nullable=False),
    Column("kind", text_type, nullable=False),
    Column("owner", text_type, nullable=False),
    Column("trigger", text_type, nullable=False),
    Column("target", text_type, nullable=False),
    Column("status", text_type, nullable=False),
    Column("live", text_type),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False),
    Column("lost_attempts", Integer, nullable=False),
    Column("progress", Text),
    Column("parameters", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("snapshot_digest", text_type),
    _id("flow_id"),
    _id("rerun_of", nullable=True),
    Column("from_failed_cell", SmallInteger, nullable=False),
    _id("schedule_id", nullable=True),
    Column("tick_at", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger, nullable=False),
    Column("use", Text),
    Column("versions", Text),
    Column("token", BigInteger, nullable=False, default=0),
    Column("holder", text_type),
    Column("lease_until", BigInteger, nullable=False, default=0),
    # What its spec asks for; NULL where a release before 0002 stored the run.
    Column("cpu", Double),
    Column("memory_bytes", BigInteger),
    Column("project", text_type),
    # 1 while a quota keeps a queued run from starting.
    Column("held_back", SmallInteger),
)
# `live` repeats the status of unended runs and is NULL for the others: indexes over it stay as
# small as the number of unended runs.
_is_live = runs.c.live.is_not(None)
Index("runs_by_created", runs.c.owner, runs.c.created_at, runs.c.id, runs.c.folded)
Index("runs_by_ended", runs.c.owner, runs.c.ended_at, runs.c.id, runs.c.folded)
Index("runs_by_status", runs.c.owner, runs.c.status, runs.c.created_at, runs.c.id)
Index("runs_by_status_ended", runs.c.owner, runs.c.status, runs.c.ended_at, runs.c.id)
Index("runs_by_workload", runs.c.workload_id, runs.c.owner, runs.c.created_at, runs.c.id)
Index("runs_by_workload_ended", runs.c.workload_id, runs.c.owner, runs.c.ended_at, runs.c.id)
Index(
    "runs_by_schedule",
    runs.c.schedule_id,
    runs.c.owner,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=runs.c.schedule_id.is_not(None),
    postgresql_where=runs.c.schedule_id.is_not(None),
)
# Those of everybody, for admins; what is filtered by rides along.
Index("runs_of_everybody", runs.c.created_at, runs.c.id, runs.c.owner, runs.c.kind, runs.c.folded)
Index(
    "runs_of_everybody_by_status",
    runs.c.status,
    runs.c.created_at,
    runs.c.id,
    runs.c.owner,
    runs.c.kind,
    runs.c.folded,
)
_is_failed = runs.c.status == "failed"
Index(
    "runs_failed",
    runs.c.ended_at,
    runs.c.owner,
    sqlite_where=_is_failed,
    postgresql_where=_is_failed,
)
Index("runs_by_snapshot", runs.c.snapshot_digest)
Index("runs_by_flow", runs.c.flow_id, runs.c.live)
Index(
    "runs_live",
    runs.c.live,
    runs.c.owner,
    runs.c.created_at,
    runs.c.id,
    sqlite_where=_is_live,
    postgresql_where=_is_live,
)
Index(
    "runs_live_by_workload",
    runs.c.workload_id,
    runs.c.live,
    sqlite_where=_is_live,
    postgresql_where=_is_live,
)
Index(
    "runs_live_by_schedule",
    runs.c.schedule_id,
    runs.c.live,
    sqlite_where=_is_live,
    postgresql_where=_is_live,
)
_is_tick = runs.c.tick_at.is_not(None) & (runs.c.trigger == "schedule")
Index(
    "runs_one_per_tick",
    runs.c.schedule_id,
    runs.c.tick_at,
    unique=True,
    sqlite_where=_is_tick,
    postgresql_where=_is_tick,
)

run_tags = Table(
    "run_tags",
    metadata,
    Column("object_id", text_type, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", text_type, primary_key=True),
    Column("owner", text_type, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index(
    "run_tags_by_created",
    run_tags.c.owner,
    run_tags.c.tag,
    run_tags.c.created_at,
    run_tags.c.object_id,
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", text_type, primary_key=True),
    _id("workload_id", ForeignKey("workloads.id", ondelete="CASCADE")),
    Column("owner", text_type, nullable=False),
    Column("cron", text_type, nullable=False),
    Column("time_zone", text_type, nullable=False),
    Column("overlap", text_type, nullable=False),
    Column("missed", text_type, nullable=False),
    Column("inputs", text_type, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("paused", SmallInteger, nullable=False),
    Column("next_tick_at", BigInteger, nullable=False),
    Column("last_tick_at", BigInteger),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
Index("schedules_by_created", schedules.c.owner, schedules.c.created_at, schedules.c.id)
Index("schedules_by_next_tick", schedules.c.owner, schedules.c.next_tick_at, schedules.c.id)
Index("schedules_by_workload", schedules.c.workload_id)
Index("schedules_due", schedules.c.paused, schedules.c.next_tick_at)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner", text_type, primary_key=True),
    Column("key", text_type, primary_key=True),
    Column("digest", text_type, nullable=False),
    Column("object_id", text_type, nullable=False),
)
Index("idempotency_keys_by_object", idempotency_keys.c.object_id)

messages = Table(
    "messages",
    metadata,
    Column("id", text_type, primary_key=True),
    Column("run_id", text_type, nullable=False),
    Column("owner", text_type, nullable=False),
    Column("body", Text, nullable=False),
    Column("webhook", Text),
    Column("secret", Text),
    Column("email", Text),
    Column("tries", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
)
Index("messages_by_time", messages.c.not_before)
