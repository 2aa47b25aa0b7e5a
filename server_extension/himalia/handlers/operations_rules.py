"""Operations of admins on what holds for everybody, and on what is kept of the past."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from himalia.core.administration import AuditQuery
from himalia.core.model import Page
from himalia.core.service import MAX_PAGE
from himalia.core.tables import USAGE, Columns, csv_of
from himalia.core.team import AuditEntry, Notice, Quota
from himalia.handlers.admin_parameters import (
    AuditParameters,
    AuditTableParameters,
    NoticePatch,
    QuotaList,
    QuotaParameters,
    TotalList,
    TotalParameters,
)
from himalia.handlers.calls import AdminCall, Table
from himalia.handlers.parameters import NoParameters, TimeParameters


async def get_notice(call: AdminCall[NoParameters, NoParameters]) -> Notice:
    """Return it."""
    return await call.administration.rules.notice(call.admin)


async def update_notice(call: AdminCall[NoParameters, NoticePatch]) -> Notice:
    """Change the banner, the drain mode or both."""
    rules = call.administration.rules
    said = {name: value for name, value in call.body.model_dump().items() if value is not None}
    notice = (await rules.notice(call.admin)).model_copy(update=said)
    return await rules.put_notice(call.admin, notice)


async def list_quotas(call: AdminCall[NoParameters, NoParameters]) -> QuotaList:
    """Return all."""
    return QuotaList(items=await call.administration.rules.quotas(call.admin))


async def put_quota(call: AdminCall[NoParameters, Quota]) -> Quota:
    """Set one."""
    return await call.administration.rules.put_quota(call.admin, call.body)


async def remove_quota(call: AdminCall[QuotaParameters, NoParameters]) -> None:
    """Remove one."""
    await call.administration.rules.remove_quota(call.admin, call.query.scope, call.query.subject)


async def list_audit(call: AdminCall[AuditParameters, NoParameters]) -> Page[AuditEntry]:
    """Return a page."""
    query = AuditQuery(**call.query.model_dump())
    return await call.administration.views.audit(call.admin, query)


async def export_audit(call: AdminCall[AuditTableParameters, NoParameters]) -> Table:
    """Send all of it."""
    return Table(name="himalia-audit.csv", chunks=csv_of(_audit_lines(call), _AUDIT))


_AUDIT: Columns[AuditEntry] = {
    "id": lambda entry: entry.id,
    "at": lambda entry: entry.at,
    "actor": lambda entry: entry.actor,
    "action": lambda entry: entry.action,
    "owner": lambda entry: entry.owner,
    "name": lambda entry: entry.name,
    "object_id": lambda entry: entry.object_id,
    "details": lambda entry: json.dumps(entry.details, ensure_ascii=False) if entry.details else "",
}


async def _audit_lines(
    call: AdminCall[AuditTableParameters, NoParameters],
) -> AsyncIterator[AuditEntry]:
    cursor: str | None = None
    while True:
        query = AuditQuery(limit=MAX_PAGE, cursor=cursor, **call.query.model_dump())
        page = await call.administration.views.audit(call.admin, query)
        for entry in page.items:
            yield entry
        cursor = page.next_cursor
        if cursor is None:
            return


async def sum_usage(call: AdminCall[TotalParameters, NoParameters]) -> TotalList:
    """Sum everybody's."""
    totals = await call.administration.ledger.totals(call.admin, call.query.by, *call.query.span())
    return TotalList(items=totals)


async def export_usage(call: AdminCall[TimeParameters, NoParameters]) -> Table:
    """Send every line of the ledger in a time."""
    entries = call.administration.ledger.entries(call.admin, *call.query.span())
    return Table(name="himalia-usage.csv", chunks=csv_of(entries, USAGE))
