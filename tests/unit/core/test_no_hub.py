"""Where there is no hub, what needs one says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from himalia.core.errors import Conflict
from himalia.core.no_hub import NoHub
from himalia.core.service import Caller
from himalia.core.team import Notice, SessionReport, TokenRequest

pytestmark = pytest.mark.asyncio

ANN = Caller(owner="ann", root=Path("/home/ann"))


async def test_nobody_told_anybody_anything() -> None:
    assert await NoHub().notice(ANN) == Notice()


async def test_all_else_is_refused_with_what_to_do() -> None:
    hub = NoHub()
    for call in (
        hub.report(ANN, SessionReport()),
        hub.server(ANN, ""),
        hub.token(ANN, TokenRequest(audience="warehouse")),
    ):
        with pytest.raises(Conflict, match=r"needs a hub.*Sign in"):
            await call
