"""Control's side of the token broker: the hub has the logins, and is asked for tokens."""

from __future__ import annotations

import json
import ssl

from pydantic import ValidationError
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from himalia.core.errors import Forbidden, HimaliaError, NotFound, Unavailable
from himalia.core.team import AccessToken

_SECONDS = 20.0
_BY_STATUS: dict[int, type[HimaliaError]] = {403: Forbidden, 404: NotFound, 503: Unavailable}
_NO_PROVIDER = (
    "This hub has no identity provider that gives tokens. An administrator can name one with "
    "c.Himalia.oidc_issuer."
)


class Broker:
    """Asks one hub, with control's own token."""

    def __init__(self, api_url: str, token: str, ssl_options: ssl.SSLContext | None = None) -> None:
        """Take the hub's address, ending in ``/hub/api``."""
        self._url = f"{api_url.rstrip('/')}/himalia/tokens"
        self._ssl_options = ssl_options
        self._headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    async def token(self, name: str, audience: str) -> AccessToken:
        """Return a short-lived token for `audience`, in the name of a user of the hub.

        :raises Forbidden: the audience is not allowed, or the user's login has ended.
        :raises Unavailable: the hub or the provider does not answer.
        """
        request = HTTPRequest(
            self._url,
            method="POST",
            headers=self._headers,
            body=json.dumps({"name": name, "audience": audience}),
            request_timeout=_SECONDS,
            follow_redirects=False,
            ssl_options=self._ssl_options,
        )
        try:
            answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        except OSError:
            raise Unavailable("The hub does not answer just now. Try again in a minute.") from None
        if answer.code == 200:
            try:
                return AccessToken.model_validate_json(answer.body)
            except ValidationError:
                raise Unavailable("The hub's answer was not understood.") from None
        raise _error(answer.code, answer.body)


def _error(status: int, body: bytes) -> HimaliaError:
    try:
        said = json.loads(body).get("message")
    except (ValueError, AttributeError):
        said = None
    if status == 404 and not said:
        return Forbidden(_NO_PROVIDER)
    kind = _BY_STATUS.get(status, Unavailable)
    return kind(str(said or "The hub does not answer just now. Try again in a minute."))
