"""One hub for all attacks on it, with the people that attack and are attacked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.security.at_hub.places import Walk
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor
from tests.servers.walk import record

_CONFIG = """
c.JupyterHub.load_groups = {{"physics": {{"users": ["alice", "gerda"]}}}}
c.Himalia.group_admins = {{"physics": ["gerda"]}}
# The more is said, the more there is that must not be.
c.JupyterHub.log_level = "DEBUG"
c.Spawner.args = [*c.Spawner.args, "--debug", "--config={session}"]
"""


async def _started() -> Hub:
    hub = Hub()
    routes, session = hub.folder / "routes", hub.folder / "session.py"
    lines = record(routes)
    session.write_text(lines)
    session.chmod(0o644)
    hub.config.write_text(hub.config.read_text() + _CONFIG.format(session=session) + lines)
    return hub


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hub() -> AsyncIterator[Hub]:
    async with await _started() as hub:
        yield hub


@pytest.fixture(scope="session")
def routes(hub: Hub) -> Path:
    """Where hub, control and sessions have written their tables of routes."""
    return hub.folder / "routes"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def walk(routes: Path, alice: Visitor) -> Walk:
    """Walk over all routes of hub, control and Alice's session."""
    # Control loads the admin page, with its routes, for the first who asks for it.
    page = await alice.http.get("/services/himalia/")
    assert page.status_code < 500, page.text[:1000]
    return Walk(routes)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def alice(hub: Hub) -> AsyncIterator[Visitor]:
    """A user whose server runs, and who has opened it."""
    async with await hub.visitor("alice") as visitor:
        await start_server(visitor)
        page = await visitor.enter("/user/alice/lab")
        assert page.status_code == 200, page.text[:1000]
        yield visitor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bob(hub: Hub) -> AsyncIterator[Visitor]:
    """Another user, who has nothing to do with Alice."""
    async with await hub.visitor("bob") as visitor:
        yield visitor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gerda(hub: Hub) -> AsyncIterator[Visitor]:
    """An admin of the group that Alice is in."""
    async with await hub.visitor("gerda") as visitor:
        yield visitor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin(hub: Hub) -> AsyncIterator[Visitor]:
    """An admin of the hub, who has opened the admin page."""
    async with await hub.visitor("admin") as visitor:
        page = await visitor.enter("/services/himalia/")
        assert page.status_code == 200, page.text[:1000]
        yield visitor


@pytest.fixture(scope="session")
def insiders(alice: Visitor, admin: Visitor) -> dict[str, Visitor]:
    """Who is logged in at each place, with cookies."""
    return {"hub": alice, "control": admin, "session": alice}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nobody(hub: Hub) -> AsyncIterator[Visitor]:
    """Somebody who has not logged in."""
    async with Visitor(hub.url) as visitor:
        yield visitor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin_token(admin: Visitor) -> str:
    """A token with all that an admin may do."""
    answer = await admin.ask("POST", "/hub/api/users/admin/tokens")
    return str(answer.json()["token"])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bob_token(bob: Visitor) -> str:
    """A token with all that Bob may do."""
    answer = await bob.ask("POST", "/hub/api/users/bob/tokens")
    return str(answer.json()["token"])


async def start_server(visitor: Visitor) -> None:
    """Start a user's server, and wait until it is ready."""
    path = f"/hub/api/users/{visitor.name}"
    answer = await visitor.ask("POST", f"{path}/server")
    assert answer.status_code in {201, 202}, answer.text
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await visitor.ask("GET", path)
            if answer.json()["servers"].get("", {}).get("ready"):
                return
            await asyncio.sleep(0.1)
