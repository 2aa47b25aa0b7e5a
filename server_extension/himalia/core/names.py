"""Every derived name: identifiers and the names of runs at a backend."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import re
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_PATTERN = r"^[a-z]{3}-[0-9a-hjkmnp-tv-z]{26}$"
_ID = re.compile(ID_PATTERN)
_OWNER = re.compile(r"^[a-z0-9][a-z0-9-]{0,29}-([a-z2-7]{26})$")
_PREFIX = re.compile(r"^[a-z][a-z0-9-]{0,19}\Z")
_NAMESPACE = 63
"""Characters that Kubernetes allows."""
_SLUG = 30


def new_id(prefix: str) -> str:
    """Make an identifier that sorts by creation time: ``prefix-`` and 26 characters.

    48 bits of milliseconds and 80 random bits in Crockford's base 32, the layout of a ULID
    (https://github.com/ulid/spec), in lower case so that it is valid in Kubernetes names.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    digits = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}-{''.join(reversed(digits))}"


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of an identifier made here."""
    return _ID.match(text) is not None


def owner_id(name: str, created: datetime) -> str:
    """Return the immutable id of a hub's user: a readable part, and 130 bits of a hash.

    The time that the hub made the user at is part of it, so a new user of the same name is
    another owner.
    """
    moment = created.astimezone(UTC).isoformat(timespec="microseconds")
    digest = hashlib.sha256(f"{name}\0{moment}".encode("utf-8", "surrogatepass")).digest()
    tail = base64.b32encode(digest).decode().lower()[:26]
    words = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_SLUG].strip("-")
    return f"{words or 'user'}-{tail}"


def is_owner_id(text: str) -> bool:
    """Tell whether `text` has the form of an owner's id at a hub."""
    return _OWNER.match(text) is not None and "\n" not in text


def account_name(owner: str) -> str:
    """Name the system account of an owner at a hub: ``hm-`` and the hash of the id.

    :raises ValueError: this is no such id.
    """
    found = _OWNER.match(owner)
    if found is None or not is_owner_id(owner):
        raise ValueError(f"{owner!r} is no owner at a hub")
    return f"hm-{found[1]}"


def namespace(owner: str, prefix: str = "himalia") -> str:
    """Name the Kubernetes namespace of an owner at a hub: at most 63 characters.

    The hash of the id is whole in it; the readable part gives way where there is no room.

    :raises ValueError: this is no such id, or no prefix of at most 20 small letters, digits and
        hyphens that begins with a letter.
    """
    found = _OWNER.match(owner)
    if found is None or not is_owner_id(owner) or _PREFIX.match(prefix) is None:
        raise ValueError(f"{owner!r} with the prefix {prefix!r} makes no namespace")
    room = _NAMESPACE - len(prefix) - len(found[1]) - 2
    words = owner[: -len(found[1])][:room].strip("-")
    return f"{prefix}-{words}-{found[1]}"


def attempt_name(run_id: str, attempt: int) -> str:
    """Name one attempt of a run, the same in every process and after every restart."""
    return f"{run_id}-{attempt}"


def user_name(uid: int | None = None) -> str:
    """Name a user of this machine, by default whoever runs this process: the owner on a laptop.

    Asks the system, never the environment, so that all of a user's processes agree.
    """
    number = os.getuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid-{number}"
