"""What a token may do with a resource, from the scopes that the hub says it has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal

from himalia.core.errors import Forbidden

Action = Literal["read", "write"]
_SERVER = "access:servers!server="
_OURS = ("custom:himalia:", "admin-ui", "read:metrics")
"""What scopes begin with that control goes by."""


def check(
    scopes: Iterable[str], resource: str, action: Action, *, name: str, groups: Collection[str] = ()
) -> None:
    """Check that a user's token may do `action` with the user's own things of a resource.

    A scope without a filter, of this user, of one of their groups or of one of their servers will
    do; writing includes reading. `resource` is ``himalia:jobs`` and so on.

    :raises Forbidden: none does; the text names the scope.
    """
    full = f"custom:{resource}"
    wanted = {full} if action == "write" else {full, f"{full}:read"}
    for scope in scopes:
        base, _, condition = scope.partition("!")
        if base in wanted and _covers(condition, name, groups):
            return
    missing = full if action == "write" else f"{full}:read"
    raise Forbidden(
        f"This token has not the scope {missing}. Make one that has it on the hub's page "
        "“Token”, or ask an admin."
    )


def _covers(condition: str, name: str, groups: Collection[str]) -> bool:
    kind, _, value = condition.partition("=")
    match kind:
        case "":
            return not condition
        case "user":
            # The hub writes the name where a role says `!user` alone.
            return value in {"", name}
        case "group":
            return value in groups
        case "server":
            return value.rpartition("/")[0] == name
        case _:
            return False


def server_of(scopes: Iterable[str], name: str) -> str | None:
    """Return which of a user's servers a token belongs to: one that may enter no other.

    None for tokens that are no server's.
    """
    own = [scope.removeprefix(_SERVER) for scope in scopes if scope.startswith(_SERVER)]
    found = {server.partition("/")[2] for server in own if server.partition("/")[0] == name}
    return found.pop() if len(found) == 1 else None


def of_session(scopes: Iterable[str], name: str) -> frozenset[str]:
    """Return those of a user's scopes that control goes by, with `!user` for that user's own.

    So the tokens of all sessions have the same ones, and one set in memory does for thousands.
    """
    own = f"!user={name}"
    ours = (scope for scope in scopes if scope.startswith(_OURS))
    return _the_same(
        frozenset(f"{one.removesuffix(own)}!user" if one.endswith(own) else one for one in ours)
    )


@lru_cache(maxsize=1000)
def _the_same(scopes: frozenset[str]) -> frozenset[str]:
    """Return the set that was there first, of all that are equal."""
    return scopes
