"""Tokens that runs get of control: to ask for access tokens, and to look at what is theirs."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from himalia.core.model import Run
from himalia.store.team import Grant, GrantStore
from himalia_hub.control.tokens import RUN_TOKEN

_LONGEST_RUN = timedelta(days=60)
"""They end with their run; this is for what was forgotten."""
_SCOPES = (
    "custom:himalia:tokens",
    "custom:himalia:jobs:read",
    "custom:himalia:runs:read",
    "custom:himalia:schedules:read",
    "custom:himalia:service:read",
    "custom:himalia:usage:read",
)


class RunTokens:
    """Makes one for each attempt of a run; `url` is where control listens."""

    def __init__(self, grants: GrantStore, url: str) -> None:
        self._grants = grants
        self._url = url

    async def env(self, run: Run) -> Mapping[str, str]:
        """Return the variables that an attempt gets (:raises Unavailable:).

        Earlier attempts' tokens stay good until the run ends: whoever takes a run over asks again
        for one that may have started already.
        """
        token = RUN_TOKEN + secrets.token_urlsafe(32)
        grant = Grant(
            owner=run.owner,
            run_id=run.id,
            scopes=_SCOPES,
            expires_at=datetime.now(UTC) + _LONGEST_RUN,
        )
        await self._grants.put(hashlib.sha256(token.encode()).hexdigest(), grant)
        return {"HIMALIA_CONTROL_URL": self._url, "HIMALIA_TOKEN": token}
