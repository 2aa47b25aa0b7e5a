"""Who may do what: scopes of ours, and the roles of JupyterHub that hold them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

RESOURCES = ("jobs", "runs", "schedules", "service", "sessions", "tokens", "usage")
"""What users work with: the resources of all routes but administration's. Written down, so that a
hub need not load every model to know them."""
SERVICE = "himalia"
"""Name of control among the hub's services."""
ADMIN = "custom:himalia:admin"
HUB_ADMIN = "admin-ui"
"""What JupyterHub's own admins have: their role is fixed, and no scope can be added to it. Control
takes it for `ADMIN`."""
ACCESS = f"access:services!service={SERVICE}"

_OF_CONTROL = (
    "list:users",
    "read:users",
    "read:roles:users",
    "read:servers",
    "delete:servers",
    "list:groups",
    "read:groups",
)
_OF_SERVER = (
    "users:activity!user",
    "access:servers!server",
    "read:users!user",
    "read:servers!server",
)
"""What JupyterHub itself grants to a server's token; and that control may read, in the one request
that checks it, when the hub made the user and how the server is."""


def user_scopes() -> list[str]:
    """Return what users may do with what is theirs."""
    return [f"custom:himalia:{resource}!user" for resource in RESOURCES]


def server_scopes() -> list[str]:
    """Return what the token of a user's server may do: no more than a session needs."""
    return [*_OF_SERVER, *user_scopes()]


def custom_scopes() -> dict[str, dict[str, Any]]:
    """Define our scopes to JupyterHub; whoever may change something may read it."""
    made: dict[str, dict[str, Any]] = {}
    for resource in (*RESOURCES, "admin"):
        full = f"custom:himalia:{resource}"
        about = "administration" if resource == "admin" else f"{resource} of users"
        made[f"{full}:read"] = {"description": f"Read Himalia's {about}."}
        made[full] = {
            "description": f"Read and change Himalia's {about}.",
            "subscopes": [f"{full}:read"],
        }
    return made


def complete(roles: Iterable[dict[str, Any]], group_admins: dict[str, list[str]]) -> list[Any]:
    """Add our scopes to the roles that JupyterHub has and a file defined, and roles of ours."""
    from jupyterhub.roles import get_default_roles  # noqa: PLC0415 - heavy, and only in a hub

    made = [dict(role) for role in roles]
    defaults = {role["name"]: role["scopes"] for role in get_default_roles()}
    user = next((role for role in made if role.get("name") == "user"), None)
    if user is None:
        made.append(user := {"name": "user"})
    has = user.get("scopes", defaults["user"])
    user["scopes"] = [*has, *(scope for scope in user_scopes() if scope not in has)]
    known = {role.get("name") for role in made}
    extra = [_of_service(), *(_of_group(*entry) for entry in group_admins.items())]
    return [*made, *(role for role in extra if role["name"] not in known)]


def _of_service() -> dict[str, Any]:
    return {
        "name": "himalia-control",
        "description": "Himalia's control: knows the users, and stops idle servers.",
        "scopes": list(_OF_CONTROL),
        "services": [SERVICE],
    }


def _of_group(group: str, admins: list[str]) -> dict[str, Any]:
    # JupyterHub's names of roles are short and plain; names of groups need not be.
    readable = re.sub(r"[^a-z0-9]+", "-", group.lower()).strip("-")[:40]
    digest = hashlib.sha256(group.encode()).hexdigest()[:16]
    return {
        "name": f"himalia-admins-{readable}-{digest}".replace("--", "-"),
        "description": f"Sees and steers what the group {group} runs.",
        "scopes": [f"{ADMIN}!group={group}", ACCESS],
        "users": [name for name in admins if not name.startswith("@")],
        "groups": [name[1:] for name in admins if name.startswith("@")],
    }
