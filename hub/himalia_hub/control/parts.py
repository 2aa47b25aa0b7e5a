"""What control answers other parts of a hub in a cluster: each shows the secret the two share."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from typing_extensions import override

from himalia.core.errors import InvalidInput, Unauthenticated
from himalia.core.isolation import Checked, noted
from himalia.core.names import new_id
from himalia.core.team import AuditEntry, IsolationReport
from himalia.store.team import TeamStore
from himalia_hub.plain import PlainHandler
from himalia_hub.state import State

TESTER = "helm test"
"""Who the audit log says has tried isolation out."""
_MOST_BYTES = 65_536


class _Shared(PlainHandler):
    """For whoever knows a secret."""

    team: Callable[[], TeamStore]
    _secret: str

    @override
    def initialize(self, team: Callable[[], TeamStore], secret: str) -> None:
        self.team = team
        self._secret = secret

    @override
    def prepare(self) -> None:
        said = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(said.encode(), self._secret.encode()):
            raise Unauthenticated("This is for other parts of the hub alone.")


class NoticeForHub(_Shared):
    """What everybody is told, for the hub's own pages."""

    async def get(self) -> None:
        """Send it."""
        notice = await self.team().notices.get()
        self.say(HTTPStatus.OK, notice.model_dump(mode="json"))


class IsolationFromTest(_Shared):
    """What a self-test of isolation found."""

    async def put(self) -> None:
        """Keep it, with a line in the audit log."""
        try:
            report = IsolationReport.model_validate_json(self.request.body[:_MOST_BYTES])
        except ValidationError as error:
            raise InvalidInput("This is no report of a self-test.") from error
        now = datetime.now(UTC)
        entry = AuditEntry(
            id=new_id("aud"),
            at=now,
            actor=TESTER,
            action="isolation.test",
            details=dict(noted(report)),
        )
        await self.team().checks.put(Checked(at=now, report=report), entry)
        self.say(HTTPStatus.OK, {})


def part_handlers(base: str, team: Callable[[], TeamStore], state: State) -> list[Any]:
    """Make the handlers below the service's address `base`."""
    return [
        (f"{base}parts/notice", NoticeForHub, _shared(team, state, "control-token")),
        # Whoever tests makes namespaces to do so.
        (f"{base}parts/isolation", IsolationFromTest, _shared(team, state, "namespaces-token")),
    ]


def _shared(team: Callable[[], TeamStore], state: State, name: str) -> dict[str, Any]:
    return {"team": team, "secret": state.secret(name)}
