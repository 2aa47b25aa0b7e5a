"""A hub that lets in whom a real Keycloak knows; both are started once for all tests here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.identity.person import Person
from tests.identity.provider import SECRET, LyingProvider
from tests.servers.hub import Hub
from tests.servers.keycloak import CLIENT, Keycloak, keycloak

__all__ = ["keycloak"]


WITHOUT_CONTROL = """
import pathlib
from himalia_hub.state import State
c.JupyterHub.services.append(
    {"name": "himalia", "api_token": State(pathlib.Path(c.Himalia.state)).secret("control-token")}
)
"""
"""Lines for a hub alone, which is quicker up: logins are the hub's own business."""


def settings(issuer: str, secret_file: Path, **others: object) -> str:
    """Return lines of configuration for a provider."""
    chosen: dict[str, object] = {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret_file": str(secret_file),
        "oidc_allowed_groups": {"/research"},
        "oidc_admin_groups": {"/stewards"},
        "token_audiences": {"team-data": "team-data", "payroll": ""},
        **others,
    }
    return "".join(f"c.Himalia.{name} = {value!r}\n" for name, value in chosen.items())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hub(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    secret = tmp_path_factory.mktemp("identity") / "secret"
    secret.write_text(keycloak.secret)
    async with Hub(config=settings(keycloak.issuer, secret), arguments=()) as made:
        keycloak.serve(made.url)
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def alice(hub: Hub) -> AsyncIterator[Person]:
    """Alice, who has signed in."""
    async with Person(hub.url, "alice") as person:
        await person.sign_in()
        yield person


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lying() -> AsyncIterator[LyingProvider]:
    async with LyingProvider() as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lied_to(
    lying: LyingProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    secret = tmp_path_factory.mktemp("lying") / "secret"
    secret.write_text(SECRET)
    chosen = settings(lying.issuer, secret, oidc_allowed_groups={"staff"}, oidc_admin_groups=set())
    async with Hub(config=chosen + WITHOUT_CONTROL, arguments=()) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def person(lying: LyingProvider, lied_to: Hub) -> AsyncIterator[Person]:
    """Somebody's browser; the provider is honest again."""
    lying.be_honest()
    async with Person(lied_to.url) as made:
        yield made
