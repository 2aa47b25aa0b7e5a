"""Sessions that are over before anybody looks for them, at a real hub."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.servers.hub import TOKEN, Hub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio


async def _server_lines(hub: Hub, name: str, listening: asyncio.Event) -> list[dict[str, Any]]:
    """Return what the hub tells services of a user's server, until it has ended."""
    told: list[dict[str, Any]] = []
    head = {"Authorization": f"token {TOKEN}"}
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client,
        client.stream("GET", f"{hub.url}/hub/api/himalia/changes", headers=head) as stream,
    ):
        async for line in stream.aiter_lines():
            listening.set()
            word, _, rest = line.partition(" ")
            if word == "server" and json.loads(rest)["name"] == name:
                told.append(json.loads(rest))
                if not told[-1]["is_on"]:
                    break
    return told


async def test_a_session_is_booked_as_it_begins_and_as_it_ends(hub: Hub) -> None:
    assert (await hub.api("POST", "users/sasha")).status_code == 201
    listening = asyncio.Event()
    lines = asyncio.create_task(_server_lines(hub, "sasha", listening))
    await listening.wait()
    await hub.open_server("sasha")
    started = (await hub.api("GET", "users/sasha")).json()["servers"][""]["started"]
    assert (await hub.api("DELETE", "users/sasha/server")).status_code in {202, 204}
    began, ended = await asyncio.wait_for(lines, PATIENCE_SECONDS)
    assert (began["is_on"], ended["is_on"]) == (True, False)
    assert began["started"] == ended["started"] == started
    assert began["server"] == ""
    async with await hub.visitor("admin") as admin:
        assert (await admin.enter("/services/himalia/")).status_code == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                table = await admin.ask("GET", "/services/himalia/api/admin/usage.csv")
                booked = [line for line in table.text.splitlines() if ",sasha," in line]
                if booked and booked[0].count(":") > 3:
                    break
                await asyncio.sleep(0.2)
    assert len(booked) == 1
