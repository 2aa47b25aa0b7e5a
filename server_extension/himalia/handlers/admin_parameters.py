"""What queries of admins may say, route by route, and the bodies that are theirs alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from himalia.core.administration import Admin
from himalia.core.answers import Items
from himalia.core.model import Page, Status
from himalia.core.spec import Model
from himalia.core.team import (
    AuditEntry,
    By,
    Orphan,
    PersonRow,
    Quota,
    RunRow,
    UsageTotal,
    WorkloadRow,
)
from himalia.handlers.parameters import Cursor, KindName, Limit, Search, TimeParameters

Owner = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
Group = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
CreatedSort = Literal["created_at", "-created_at"]
PersonSort = Literal["name", "-name", "last_seen_at", "-last_seen_at"]


class EveryParameters(Model):
    """Which part of a list of everybody's."""

    limit: Limit = 25
    cursor: Cursor | None = None
    search: Search | None = None


class PersonParameters(EveryParameters):
    """Which people."""

    sort: PersonSort = "name"
    group: Group | None = None


class EveryWorkloadParameters(EveryParameters):
    """Which workloads."""

    sort: CreatedSort = "-created_at"
    kind: KindName | None = None
    owner: Owner | None = None
    group: Group | None = None


class EveryRunParameters(EveryWorkloadParameters):
    """Which runs."""

    status: tuple[Status, ...] = ()


class AuditParameters(TimeParameters):
    """Which lines of the audit log."""

    limit: Limit = 50
    cursor: Cursor | None = None
    search: Search | None = None


class AuditTableParameters(TimeParameters):
    """Which lines of the audit log are exported."""

    search: Search | None = None


class TotalParameters(TimeParameters):
    """Which sums."""

    by: By = By.OWNER


class QuotaParameters(Model):
    """Which quota."""

    scope: Literal["everyone", "group", "user"]
    subject: Annotated[str, Field(max_length=255)] = ""


class NoticePatch(Model):
    """What is changed of the notice."""

    banner: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] | None = None
    is_draining: bool | None = None


class Rights(Model):
    """Who is asking, and how far they may go."""

    name: str
    groups: tuple[str, ...] | None
    """Whose members they see; null means everybody."""
    may_write: bool

    @classmethod
    def of(cls, admin: Admin) -> Rights:
        """Tell an admin's."""
        groups = None if admin.groups is None else tuple(sorted(admin.groups))
        return cls(name=admin.name, groups=groups, may_write=admin.may_write)


class Moved(Model):
    """What a transfer did."""

    workloads: int


class Changed(Model):
    """Something that the page shows may have changed."""

    id: str
    type: Literal["change"] = "change"
    revision: int


class PersonPage(Page[PersonRow]):
    """Part of a list of people."""


class EveryRunPage(Page[RunRow]):
    """Part of a list of everybody's runs."""


class EveryWorkloadPage(Page[WorkloadRow]):
    """Part of a list of everybody's workloads."""


class AuditPage(Page[AuditEntry]):
    """Part of the audit log."""


class OrphanList(Items[Orphan]):
    """What runs and nobody owns, and what is owned and gone."""


class QuotaList(Items[Quota]):
    """Quotas."""


class TotalList(Items[UsageTotal]):
    """Sums of usage, the largest first."""
