"""What control pays to know whose a token is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from hubs import Hub
from table import Table, median

from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.tokens import Tokens

CALLS = 2_000
"""In a row: all of them within the time that an answer of the hub is good for."""


async def checks(hub: Hub, users: Sequence[str]) -> float:
    """Print what a check costs; return the median of one that was remembered."""
    secret = (hub.folder / "state/secrets/control-token").read_text().strip()
    store = SqlStore(Path(hub.folder / "checks.db"), load_kinds().decode_spec)
    await store.open()
    api = HubApi(f"{hub.url}/hub/api", secret)
    try:
        tokens = Tokens(api, team=lambda: store.team)
        first = [await _once(tokens, hub.token(user)) for user in users]
        await tokens.identify(hub.token(users[0]))
        again = [await _once(tokens, hub.token(users[0])) for _ in range(CALLS)]
    finally:
        await api.close()
        await store.close()
    table = Table(title="Control checks a token", head=("", "median", "p99"))
    for name, values in (("asked of the hub", first), ("remembered, at most 10 s", again)):
        values.sort()
        p99 = values[int(len(values) * 0.99)]
        table.rows.append(
            (name, *(f"{seconds * 1000:.3f} ms" for seconds in (median(values), p99)))
        )
    table.show()
    return median(again)


async def _once(tokens: Tokens, token: str) -> float:
    begin = time.perf_counter()
    await tokens.identify(token)
    return time.perf_counter() - begin
