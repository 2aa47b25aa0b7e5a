"""Whom the settings let in: by the provider's groups and ids, and by names at the hub."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Protocol

from himalia_hub.identity.claims import groups_of
from himalia_hub.identity.logins import Login
from himalia_hub.identity.settings import OidcSettings


class Lists(Protocol):
    """What JupyterHub's own authenticators go by: names at the hub, in small letters."""

    allow_all: bool
    allowed_users: Collection[str]
    admin_users: Collection[str]
    blocked_users: Collection[str]


class Admission:
    """Whom the settings let in."""

    def __init__(self, settings: OidcSettings, lists: Lists) -> None:
        self.settings = settings
        self._lists = lists

    @property
    def is_nobody(self) -> bool:
        """Whether the settings let nobody in."""
        its, lists = self.settings, self._lists
        by_provider = its.oidc_allowed_groups or its.oidc_admin_groups or its.oidc_allowed_subjects
        return not (by_provider or lists.allow_all or lists.allowed_users or lists.admin_users)

    def names(self, name: str) -> bool:
        """Tell whether an administrator has written down this very name as somebody to let in."""
        return name in self._lists.allowed_users or name in self._lists.admin_users

    def admits(self, name: str | None, subject: str, groups: tuple[str, ...]) -> bool:
        """Tell whether a person may sign in.

        :param name: at the hub; None while the person has none that counts.
        """
        its, lists = self.settings, self._lists
        if name is not None and name in lists.blocked_users:
            return False
        if lists.allow_all or (name is not None and self.names(name)):
            return True
        allowed = its.oidc_allowed_groups | its.oidc_admin_groups
        return subject in its.oidc_allowed_subjects or not allowed.isdisjoint(groups)

    def is_admin(self, name: str, groups: tuple[str, ...]) -> bool | None:
        """Tell whether a person is an admin; None where the settings do not say."""
        if name in self._lists.admin_users:
            return True
        admins = self.settings.oidc_admin_groups
        return None if not admins else not admins.isdisjoint(groups)

    def groups(self, login: Login, info: dict[str, Any]) -> tuple[str, ...]:
        """Return a person's groups: as the provider says now, or else as at their last token.

        Who has none left may be told of without the claim: then an old token counts for nothing.
        """
        claim = self.settings.oidc_groups_claim
        found = groups_of(info, claim)
        if found is None and not login.knows_groups:
            found = groups_of(login.claims, claim)
        return found or ()

    def told(self, login: Login, info: dict[str, Any]) -> Login:
        """Return the login, with a note whether the provider tells the groups itself."""
        tells = groups_of(info, self.settings.oidc_groups_claim) is not None
        return replace(login, knows_groups=True) if tells and not login.knows_groups else login
