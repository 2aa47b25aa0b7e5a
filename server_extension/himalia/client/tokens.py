"""`himalia.token`: short-lived access tokens for other services, in the user's own name."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from typing_extensions import override

from himalia.client import AsyncClient
from himalia.client.blocking import Portal
from himalia.client.validation import valid
from himalia.core.team import AccessToken, TokenRequest


class Token(str):
    """An access token as text; shown in a notebook it says whose it is, and not what it is."""

    __slots__ = ("audience", "expires_at", "scopes")

    audience: str
    expires_at: datetime
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, made: AccessToken) -> Self:
        """Take what control gave."""
        token = cls(made.access_token)
        token.audience = made.audience
        token.expires_at = made.expires_at
        token.scopes = made.scopes
        return token

    @override
    def __repr__(self) -> str:
        return f"<token for {self.audience} until {self.expires_at:%H:%M:%S %Z}>"


async def token_async(audience: str) -> Token:
    """Return an access token for the service called `audience`, awaited.

    :raises Conflict: there is no hub, so nobody could give one.
    :raises Forbidden: the audience is not allowed, or the user's login has ended.
    :raises Unavailable: the hub or its identity provider does not answer.
    """
    request = valid(TokenRequest, audience=audience)
    async with AsyncClient() as client:
        service = await client.connection.service()
        return Token.of(await service.hub.token(client.connection.caller, request))


def token(audience: str) -> Token:
    """Return an access token for the service called `audience`: ``himalia.token("team-data")``.

    It is a text to send as ``Authorization: Bearer …``, good for minutes: ask for a new one each
    time, which is cheap. Works in notebooks, their jobs, and programs that they start; as long as
    the login of whoever it acts for goes on.

    :raises Conflict: there is no hub, so nobody could give one.
    :raises Forbidden: the audience is not allowed, or the user's login has ended.
    :raises Unavailable: the hub or its identity provider does not answer.
    """
    portal = Portal()
    try:
        return portal.call(token_async(audience))
    finally:
        portal.close()
