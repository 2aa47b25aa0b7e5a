"""What a team's control keeps, in SQL."""

from __future__ import annotations

from himalia.store.checks import SqlChecks
from himalia.store.database import Database
from himalia.store.everyone import SqlLists
from himalia.store.grants import SqlGrants
from himalia.store.leaders import SqlLeaders
from himalia.store.notices import SqlNotices
from himalia.store.people import SqlPeople
from himalia.store.quotas import SqlQuotas
from himalia.store.rows import DecodeSpec
from himalia.store.team import TeamStore
from himalia.store.usage import SqlUsage


class SqlTeam(TeamStore):
    """All parts, on one database."""

    def __init__(self, database: Database, decode_spec: DecodeSpec) -> None:
        self.people = SqlPeople(database)
        self.lists = SqlLists(database, decode_spec)
        self.usage = SqlUsage(database)
        self.quotas = SqlQuotas(database)
        self.notices = SqlNotices(database)
        self.checks = SqlChecks(database)
        self.leaders = SqlLeaders(database)
        self.grants = SqlGrants(database)
