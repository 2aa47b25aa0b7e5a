"""The tables and the indexes that keep every question flat in the number of rows.

Times are integers, microseconds since 1970 in UTC. A time that sorts and may be missing is
`FOREVER` instead of NULL, so that keyset paging needs no case for it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
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

HEAD = "0001"
"""The revision of the schema below: the newest file in ``migrations/versions``."""

OLDEST_READER = "0001"
"""The oldest revision whose releases still run on the schema below: at least the one before
`HEAD`, so that a release can be taken back, and two can run side by side during an upgrade."""

FOREVER = 2**63 - 1

metadata = MetaData()

# Ordered by code point in every dialect, as SQLite does: cursors compare text.
_Text = Text().with_variant(Text(collation="C"), "postgresql")


def _id(name: str, *constraints: ForeignKey, nullable: bool = False) -> Column[str]:
    return Column(name, _Text, *constraints, nullable=nullable)


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
    Column("id", _Text, primary_key=True),
    Column("kind", _Text, nullable=False),
    Column("owner", _Text, nullable=False),
    Column("name", _Text, nullable=False),
    Column("folded", _Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("snapshot", Text),
    Column("snapshot_digest", _Text),
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
    Column("object_id", _Text, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", _Text, primary_key=True),
    Column("owner", _Text, nullable=False),
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
    Column("downstream", _Text, ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    _id("upstream", ForeignKey("workloads.id")),
    Column("owner", _Text, nullable=False),
    Column("condition", _Text, nullable=False),
)
Index("dependencies_by_upstream", dependencies.c.upstream)
Index("dependencies_by_owner", dependencies.c.owner)

runs = Table(
    "runs",
    metadata,
    Column("id", _Text, primary_key=True),
    _id("workload_id", ForeignKey("workloads.id")),
    Column("workload_name", _Text, nullable=False),
    Column("folded", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("owner", _Text, nullable=False),
    Column("trigger", _Text, nullable=False),
    Column("target", _Text, nullable=False),
    Column("status", _Text, nullable=False),
    Column("live", _Text),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False),
    Column("lost_attempts", Integer, nullable=False),
    Column("progress", Text),
    Column("parameters", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("snapshot_digest", _Text),
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
    Column("holder", _Text),
    Column("lease_until", BigInteger, nullable=False, default=0),
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
    Column("object_id", _Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", _Text, primary_key=True),
    Column("owner", _Text, nullable=False),
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
    Column("id", _Text, primary_key=True),
    _id("workload_id", ForeignKey("workloads.id", ondelete="CASCADE")),
    Column("owner", _Text, nullable=False),
    Column("cron", _Text, nullable=False),
    Column("time_zone", _Text, nullable=False),
    Column("overlap", _Text, nullable=False),
    Column("missed", _Text, nullable=False),
    Column("inputs", _Text, nullable=False),
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
    Column("owner", _Text, primary_key=True),
    Column("key", _Text, primary_key=True),
    Column("digest", _Text, nullable=False),
    Column("object_id", _Text, nullable=False),
)
Index("idempotency_keys_by_object", idempotency_keys.c.object_id)

messages = Table(
    "messages",
    metadata,
    Column("id", _Text, primary_key=True),
    Column("run_id", _Text, nullable=False),
    Column("owner", _Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("webhook", Text),
    Column("secret", Text),
    Column("email", Text),
    Column("tries", Integer, nullable=False),
    Column("not_before", BigInteger, nullable=False),
)
Index("messages_by_time", messages.c.not_before)
