"""From what a hub's token may do to whom its bearer administers."""

from __future__ import annotations

from collections.abc import Iterable

from himalia.core.administration import Admin
from himalia.core.errors import Forbidden

SCOPE = "custom:himalia:admin"
HUB_ADMIN = "admin-ui"
"""The hub's own admins have it; their role cannot be given scopes of ours."""
_GROUP = "!group="


def admin_of(name: str, scopes: Iterable[str]) -> Admin:
    """Return what these scopes make of a user.

    Who may see everybody, and change members of some groups alone, gets the narrower of the two:
    never more than a scope grants.

    :raises Forbidden: they are nobody's admin.
    """
    granted = frozenset(scopes)
    if HUB_ADMIN in granted or SCOPE in granted:
        return Admin(name=name, groups=None)
    writes = _groups(granted, SCOPE)
    if writes:
        return Admin(name=name, groups=writes)
    if f"{SCOPE}:read" in granted:
        return Admin(name=name, groups=None, may_write=False)
    reads = _groups(granted, f"{SCOPE}:read")
    if reads:
        return Admin(name=name, groups=reads, may_write=False)
    raise Forbidden("Only admins may do this, and the admins of groups for their members.")


def _groups(granted: frozenset[str], scope: str) -> frozenset[str]:
    start = f"{scope}{_GROUP}"
    return frozenset(found.removeprefix(start) for found in granted if found.startswith(start))
