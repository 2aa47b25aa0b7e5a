"""The cookie that a login at the provider begins with, behind a web server that does TLS."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from tests.identity.conftest import WITHOUT_CONTROL, settings
from tests.identity.provider import SECRET, LyingProvider
from tests.servers.hub import Hub

pytestmark = pytest.mark.asyncio(loop_scope="session")
PUBLIC = 'c.JupyterHub.public_url = "https://hub.example.org/"\n'


def cookies(answer: httpx.Response) -> SimpleCookie:
    """Return what a browser is told to keep."""
    found = SimpleCookie()
    for line in answer.headers.get_list("Set-Cookie"):
        found.load(line)
    return found


async def test_019_a_sibling_host_cannot_plant_the_beginning_of_a_login(
    lying: LyingProvider, tmp_path: Path
) -> None:
    lying.be_honest()
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    chosen = settings(lying.issuer, secret, oidc_allowed_groups={"staff"})
    async with (
        Hub(config=chosen + WITHOUT_CONTROL + PUBLIC, arguments=()) as hub,
        httpx.AsyncClient(base_url=hub.url, timeout=120, trust_env=False) as plain,
    ):
        begun = await plain.get("/hub/oauth_login")
        at_provider = await plain.get(begun.headers["Location"])
        (kept,) = (one for name, one in cookies(begun).items() if "oauthenticator" in name)
        assert kept.key == "__Host-oauthenticator-state"
        assert (kept["path"], kept["domain"], kept["secure"]) == ("/", "", True)
        plain.cookies.clear()
        back = at_provider.headers["Location"].removeprefix(hub.url)

        # What the domain of a sibling's page may set has another name.
        tossed = {"Cookie": f"oauthenticator-state={kept.coded_value}"}
        refused = await plain.get(back, headers=tossed)
        assert refused.status_code == 400
        assert "jupyterhub-hub-login" not in cookies(refused)
        own = {"Cookie": f"{kept.key}={kept.coded_value}"}
        let_in = await plain.get(back, headers=own)
        assert let_in.status_code == 302, let_in.text[-1000:]
        assert cookies(let_in)["jupyterhub-hub-login"]["secure"]
