"""What the user has used, and may use."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from himalia.client.connection import Connection
from himalia.core.errors import InvalidInput
from himalia.core.service import MAX_PAGE
from himalia.core.team import By, Notice, Standing, UsageEntry, UsageTotal

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


def month_of(text: str | None, now: datetime | None = None) -> tuple[datetime, datetime]:
    """Return when a month (``2026-11``; this one by default) begins and ends, in UTC.

    :raises InvalidInput: it is not written so.
    """
    if text is None:
        text = (now or datetime.now(UTC)).strftime("%Y-%m")
    found = _MONTH.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise InvalidInput.of("month", f"{text!r} is not a month; write 2026-11")
    year, month = int(found[1]), int(found[2])
    begin = datetime(year, month, 1, tzinfo=UTC)
    if (year, month) == (9999, 12):
        return begin, datetime.max.replace(tzinfo=UTC)
    return begin, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


class AsyncUsage:
    """What the user has used, and may use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def totals(
        self, by: By | str = By.KIND, *, month: str | None = None
    ) -> tuple[UsageTotal, ...]:
        """Sum what was used in a month (``2026-11``; this one by default) by kind or project."""
        if by not in {By.KIND, By.PROJECT}:
            raise InvalidInput.of("by", "your own usage is summed by kind or project")
        since, until = month_of(month)
        service = await self._connection.service()
        return await service.usage.totals(self._connection.caller, By(by), since, until)

    async def entries(self, *, month: str | None = None) -> AsyncIterator[UsageEntry]:
        """Yield what was on in a month, the youngest first."""
        since, until = month_of(month)
        service = await self._connection.service()
        cursor: str | None = None
        while True:
            page = await service.usage.entries(
                self._connection.caller, since, until, limit=MAX_PAGE, cursor=cursor
            )
            for entry in page.items:
                yield entry
            cursor = page.next_cursor
            if cursor is None:
                return

    async def quotas(self) -> tuple[Standing, ...]:
        """Return the quotas that hold for the user, with what is taken of each."""
        service = await self._connection.service()
        return await service.usage.standings(self._connection.caller)

    async def notice(self) -> Notice:
        """Return what an admin tells everybody."""
        service = await self._connection.service()
        return await service.hub.notice(self._connection.caller)
