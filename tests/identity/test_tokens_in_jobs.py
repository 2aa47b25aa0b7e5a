"""`himalia.token` in a job: in its user's name while nobody is there, and not after their login."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from tests.identity.person import Person
from tests.servers import notebooks
from tests.servers.hub import Hub
from tests.servers.keycloak import Keycloak
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKS = """
import himalia, json, pathlib
from himalia.core.errors import Forbidden
home = pathlib.Path.home()
token = himalia.token(audience="team-data")
try:
    himalia.token("payroll")
except Forbidden as error:
    refused = str(error)
said = {"token": str(token), "shown": repr(token), "refused": refused}
(home / "said.new").write_text(json.dumps(said))
(home / "said.new").rename(home / "said")
"""
ASKS_ON = """
import time
while True:
    try:
        himalia.token("team-data")
    except Forbidden as error:
        (home / "ended").write_text(str(error))
        break
    time.sleep(0.5)
"""


async def there(file: Path, log: Hub) -> str:
    """Wait for what a job writes."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not await asyncio.to_thread(file.exists):
        assert time.monotonic() < end, log.log()[-5000:]
        await asyncio.sleep(0.2)
    return await asyncio.to_thread(file.read_text)


async def test_a_job_gets_tokens_in_its_users_name_until_their_login_ends(
    hub: Hub, keycloak: Keycloak
) -> None:
    keycloak.make("jules", "/research")
    async with Person(hub.url, "jules") as jules:
        await jules.sign_in()
        headers = {"Authorization": f"token {await jules.token()}"}
        control = httpx.AsyncClient(
            base_url=f"{hub.url}/services/himalia/api/",
            headers=headers,
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )
        async with control:
            # The first question makes the home; no server of the user's is ever started.
            assert (await control.get("environments")).status_code == 200
            (home,) = hub.state.glob("homes/jules-*")
            notebooks.write(home / "asks.ipynb", ASKS, ASKS_ON)
            draft = {"name": "asks", "spec": {"notebook": "asks.ipynb"}}
            made = await control.post("jobs", json=draft)
            assert made.status_code == 201, made.text
            said: dict[str, Any] = json.loads(await there(home / "said", hub))
            claims = jwt.decode(said["token"], options={"verify_signature": False})
            assert claims["aud"] == "team-data"
            assert claims["preferred_username"] == "jules"
            assert claims["typ"] == "Bearer", "no ID token"
            assert said["shown"].startswith("<token for team-data until")
            assert "gives no token for payroll" in said["refused"]

            run = f"runs/{made.json()['last_run']['id']}"
            assert (await control.get(run)).json()["status"] == "running"
            await jules.go("/hub/logout")
            assert "The login of jules has ended" in await there(home / "ended", hub)
    model = (await hub.api("GET", "users/jules")).json()
    assert not model["servers"]
    assert said["token"] not in hub.log()
