"""Which name at the hub an account at the provider has."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from jupyterhub import orm

from himalia_hub.identity.people import Accounts

_LONGEST = 40
_NOT_PLAIN = re.compile(r"[^a-z0-9._@-]+")


class Names:
    """Gives each account one name for ever, and never one that is somebody else's."""

    def __init__(self, db: Any, accounts: Accounts, is_listed: Callable[[str], bool]) -> None:
        self._db = db
        self._accounts = accounts
        self._is_listed = is_listed

    async def known(self, issuer: str, subject: str) -> str | None:
        """Return the name of whoever `subject` is at `issuer`, if they ever got one."""
        return await self._accounts.find(issuer, subject)

    async def of(self, issuer: str, subject: str, claimed: object) -> str:
        """Return the name of whoever `subject` is at `issuer`; `claimed` is what they call it."""
        if listed := self.listed(claimed):
            # The hub made a user of this name because an administrator means this person by it.
            return await self._accounts.get(issuer, subject, listed)
        wanted = plain(claimed)
        if not wanted or self._is_taken(wanted):
            # Somebody whom the hub knows from elsewhere: nobody becomes them by choosing a name.
            digest = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:8]
            wanted = f"{wanted or 'user'}-{digest}"
        return await self._accounts.get(issuer, subject, wanted)

    def listed(self, claimed: object) -> str | None:
        """Return the name that an administrator has written down, and that is claimed exactly.

        In any case, as JupyterHub takes names; but in no other letters that look or fold alike.
        """
        if not isinstance(claimed, str) or not claimed.isascii():
            return None
        name = claimed.lower()
        return name if self._is_listed(name) else None

    def _is_taken(self, wanted: str) -> bool:
        # Somebody who was here before has a name already, and then `wanted` counts for nothing.
        names = self._db.query(orm.User.name).all()
        return any(plain(name) == wanted for (name,) in names)


def plain(value: object) -> str:
    """Turn what a person may have chosen into a short name in plain ASCII."""
    if not isinstance(value, str):
        return ""
    # Letters that only look like others' become hyphens, not those others.
    folded = unicodedata.normalize("NFKC", value[: 4 * _LONGEST]).casefold()
    return _NOT_PLAIN.sub("-", folded)[:_LONGEST].strip("-._@")
