"""`himalia.token` where it is used: in a kernel of a session at a hub."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from tests.identity.person import Person
from tests.identity.session import Session, run
from tests.servers.hub import Hub
from tests.servers.keycloak import Keycloak

pytestmark = pytest.mark.asyncio(loop_scope="session")


ASKING = """
import threading, time
from himalia.core.errors import Forbidden
said = []
def ask():
    while not said:
        try:
            himalia.token("team-data")
        except Forbidden as error:
            said.append(str(error))
        time.sleep(0.2)
thread = threading.Thread(target=ask)
thread.start()
"""


async def test_a_notebook_gets_a_token_in_its_users_name_and_none_after_the_login(
    hub: Hub, keycloak: Keycloak
) -> None:
    keycloak.make("hugo", "/research")
    async with Person(hub.url, "hugo") as hugo:
        await hugo.sign_in()
        session = Session(hub, hugo)
        await session.open()
        socket = await session.socket()
        printed = await run(
            socket,
            "import himalia\ntoken = himalia.token(audience='team-data')\n"
            "print(f'Bearer {token}')\nprint([token])",
        )
        assert printed.startswith("Bearer "), printed
        token, shown = printed.removeprefix("Bearer ").split("\n", 1)
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == "team-data"
        assert claims["preferred_username"] == "hugo"
        assert "<token for team-data until" in shown
        assert token not in shown

        refused = await run(socket, "himalia.token('payroll')")
        assert refused.startswith("Forbidden: "), refused

        # A kernel outlives the login; what it asks for in the user's name does not.
        await run(socket, ASKING)
        await hugo.go("/hub/logout")
        await asyncio.sleep(3)
        await hugo.sign_in()
        await session.open()
        again = await session.socket()
        assert "The login of hugo has ended" in await run(again, "thread.join(20)\nprint(said)")
        assert "<token for" in await run(again, "print([himalia.token('team-data')])")
        await session.close()
