"""The logins of one user, as the hub keeps them: encrypted, in JupyterHub's `auth_state`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

_FRESH_SECONDS = 30.0
_DEFAULT_SECONDS = 300.0
_MOST = 5
"""Browsers at once; the oldest login is let go of."""


class End(StrEnum):
    """Why a user's logins ended."""

    PROVIDER = "provider"
    """The provider ended it: a session revoked or run out, a user disabled."""
    DENIED = "denied"
    """The person is in no allowed group any more."""
    UNREACHABLE = "unreachable"
    """The provider did not answer for too long."""
    LOGOUT = "logout"
    """They logged out, here or at the provider."""

    @property
    def suspends(self) -> bool:
        """Whether what runs in the user's name is cut off until they sign in again."""
        return self is not End.LOGOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login in one browser."""

    browser: str
    """JupyterHub's session id."""
    begun_at: float = field(default_factory=time.time)
    session: str = ""
    """The provider's session id, where it tells one."""
    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of the latest ID token."""
    knows_groups: bool = False
    """Whether the provider has told the groups when it was asked about the person."""
    lifetime_seconds: float = _DEFAULT_SECONDS
    expires_at: float = 0.0

    def renewed(self, answer: Mapping[str, Any], claims: Mapping[str, Any] | None = None) -> Login:
        """Take what the token endpoint gave; what it left out stays as it was."""
        seconds = answer.get("expires_in")
        lifetime = float(seconds) if isinstance(seconds, int | float) else _DEFAULT_SECONDS
        return replace(
            self,
            access_token=str(answer["access_token"]),
            refresh_token=str(answer.get("refresh_token") or self.refresh_token),
            id_token=str(answer.get("id_token") or self.id_token) if claims else self.id_token,
            claims=claims or self.claims,
            lifetime_seconds=lifetime,
            expires_at=time.time() + lifetime,
        )

    @property
    def is_stale(self) -> bool:
        """Whether its access token should be renewed now."""
        early = min(_FRESH_SECONDS, self.lifetime_seconds / 2)
        return time.time() > self.expires_at - early

    @property
    def is_over(self) -> bool:
        """Whether its access token has run out and nothing can renew it."""
        return time.time() > self.expires_at and not self.refresh_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Everything that is kept of one user's identity."""

    issuer: str = ""
    subject: str = ""
    items: tuple[Login, ...] = ()
    """The youngest first."""
    ended: End | None = None

    @classmethod
    def of_state(cls, state: Mapping[str, Any] | None) -> Logins:
        """Read `auth_state`; what another authenticator left there is nothing."""
        if not state or "himalia" not in state:
            return cls()
        kept = state["himalia"]
        known = {one.name for one in fields(Login)}
        return cls(
            issuer=kept["issuer"],
            subject=kept["subject"],
            items=tuple(
                Login(**{key: value for key, value in item.items() if key in known})
                for item in kept["items"]
            ),
            ended=End(kept["ended"]) if kept["ended"] else None,
        )

    def state(self) -> dict[str, Any] | None:
        """Return what is stored as `auth_state`."""
        if not self.items and self.ended is None:
            return None
        return {
            "himalia": {
                "issuer": self.issuer,
                "subject": self.subject,
                "items": [asdict(item) for item in self.items],
                "ended": self.ended,
            }
        }

    def with_new(self, login: Login) -> Logins:
        """Add a login, in the place of an earlier one of the same browser."""
        others = [
            item
            for item in self.items
            if item.browser != login.browser
            and not (item.session and item.session == login.session)
        ]
        return replace(self, items=(login, *others)[:_MOST], ended=None)

    def with_renewed(self, old: Login, new: Login) -> Logins:
        """Put a renewed login where the old one was."""
        return replace(self, items=tuple(new if item is old else item for item in self.items))

    def over(self, why: End) -> Logins:
        """Forget every login."""
        return replace(self, items=(), ended=why if why.suspends else None)
