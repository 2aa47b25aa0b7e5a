"""The tables of what a team's control keeps, beside those of workloads and runs.

The same rules hold as in :mod:`himalia.store.tables`: times are microseconds, and a time that
sorts and may be missing is `FOREVER`.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    event,
    literal_column,
)

from himalia.store.tables import FOREVER, metadata, text_type

people = Table(
    "people",
    metadata,
    Column("owner", text_type, primary_key=True),
    Column("name", text_type, nullable=False),
    Column("folded", text_type, nullable=False),
    Column("is_admin", SmallInteger, nullable=False),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("gone_at", BigInteger),
)
_is_here = people.c.gone_at.is_(None)
for _name, _key in (("name", people.c.folded), ("last_seen", people.c.last_seen_at)):
    Index(
        f"people_by_{_name}",
        _key,
        people.c.owner,
        sqlite_where=_is_here,
        postgresql_where=_is_here,
    )

memberships = Table(
    "memberships",
    metadata,
    Column("owner", text_type, ForeignKey("people.owner", ondelete="CASCADE"), primary_key=True),
    Column("group_name", text_type, primary_key=True),
)
Index("memberships_by_group", memberships.c.group_name, memberships.c.owner)

accounts = Table(
    "accounts",
    metadata,
    Column("issuer", text_type, primary_key=True),
    Column("subject", text_type, primary_key=True),
    Column("name", text_type, nullable=False),
    # What names that look alike have in common.
    Column("looks", text_type, nullable=False, unique=True),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", text_type, primary_key=True),
    Column("kind", text_type, nullable=False),
    Column("owner", text_type, nullable=False),
    Column("name", text_type, nullable=False),
    Column("project", text_type, nullable=False),
    Column("object_id", text_type, nullable=False),
    Column("title", Text, nullable=False),
    Column("cpu", Double),
    Column("memory_bytes", BigInteger),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("cpu_seconds", Double, nullable=False),
    Column("peak_memory_bytes", BigInteger, nullable=False),
)
Index("ledger_by_start", ledger.c.started_at, ledger.c.id, ledger.c.ended_at)
Index("ledger_by_owner", ledger.c.owner, ledger.c.started_at, ledger.c.id, ledger.c.ended_at)
# Written out, since no parameter can tell a database that this index is meant.
is_open = ledger.c.ended_at == literal_column(str(FOREVER))
Index(
    "ledger_open",
    ledger.c.owner,
    ledger.c.kind,
    ledger.c.id,
    ledger.c.started_at,
    sqlite_where=is_open,
    postgresql_where=is_open,
)

# Groups of an entry's owner, as they were.
ledger_groups = Table(
    "ledger_groups",
    metadata,
    Column("entry_id", text_type, ForeignKey("ledger.id", ondelete="CASCADE"), primary_key=True),
    Column("group_name", text_type, primary_key=True),
)
Index("ledger_groups_by_name", ledger_groups.c.group_name, ledger_groups.c.entry_id)

# The sums of ended workloads' time, kept with each end, so that nothing adds up a month's entries.
months = Table(
    "months",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("scope", text_type, primary_key=True),
    Column("subject", text_type, primary_key=True),
    Column("micros", BigInteger, nullable=False),
)

quotas = Table(
    "quotas",
    metadata,
    Column("scope", text_type, primary_key=True),
    Column("subject", text_type, primary_key=True),
    Column("running", Integer),
    Column("cpu", Double),
    Column("memory_bytes", BigInteger),
    Column("run_hours", Double),
)

# One row at most.
notices = Table(
    "notices",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("banner", Text, nullable=False),
    Column("is_draining", SmallInteger, nullable=False),
    Column("changed_at", BigInteger),
    Column("changed_by", text_type, nullable=False),
)

# One row at most.
isolation = Table(
    "isolation",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("checked_at", BigInteger, nullable=False),
    Column("report", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", text_type, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", text_type, nullable=False),
    Column("action", text_type, nullable=False),
    Column("owner", text_type, nullable=False),
    Column("name", text_type, nullable=False),
    Column("object_id", text_type, nullable=False),
    Column("details", Text, nullable=False),
    Column("folded", text_type, nullable=False),
)
Index("audit_by_time", audit.c.at, audit.c.id, audit.c.folded)
Index("audit_by_owner", audit.c.owner, audit.c.at, audit.c.id)

duties = Table(
    "duties",
    metadata,
    Column("duty", text_type, primary_key=True),
    Column("holder", text_type, nullable=False),
    Column("until", BigInteger, nullable=False),
)
Index("duties_by_holder", duties.c.holder)

grants = Table(
    "grants",
    metadata,
    Column("digest", text_type, primary_key=True),
    Column("owner", text_type, nullable=False),
    Column("run_id", text_type, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
Index("grants_by_owner", grants.c.owner, grants.c.run_id)
Index("grants_by_run", grants.c.run_id)
Index("grants_by_end", grants.c.expires_at)

# Counts changes, in as many rows as connections that write at once may have to themselves.
changes = Table(
    "changes",
    metadata,
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

AUDIT_GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER audit_without_{what} BEFORE {what.upper()} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END"
        for what in ("update", "delete")
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_is_appended_to() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END $$"
        ),
        (
            "CREATE TRIGGER audit_without_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "EXECUTE FUNCTION audit_is_appended_to()"
        ),
    ),
}
"""What has the database itself refuse to change or delete what is in the audit log."""

for _dialect, _statements in AUDIT_GUARDS.items():
    for _statement in _statements:
        _guard = DDL(_statement).execute_if(dialect=_dialect)  # type: ignore[no-untyped-call]
        event.listen(audit, "after_create", _guard)
