"""What an operation gets and gives: no trace of HTTP or of the server that carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from himalia.core.administration import Admin, Administration
from himalia.core.errors import NotFound
from himalia.core.names import is_id
from himalia.core.service import Caller, OpenOutput, WorkloadService
from himalia.core.spec import Model

Q = TypeVar("Q", bound=Model)
B = TypeVar("B", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[Q, B]):
    """A request, decoded and checked."""

    query: Q
    body: B
    path: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    last_event_id: str | None = None

    def id(self, name: str) -> str:
        """Return an identifier from the path.

        :raises NotFound: it has not the form of one, so nothing can be there.
        """
        text = self.path[name]
        if not is_id(text):
            raise NotFound(f"There is no {name.removesuffix('_id')} {text[:60]!r}.")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Asked[Q, B]):
    """What a user asks of the service."""

    service: WorkloadService
    caller: Caller

    @property
    def asker(self) -> str:
        """Whose streams are counted together."""
        return self.caller.owner


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminCall(Asked[Q, B]):
    """What an admin asks of administration."""

    administration: Administration
    admin: Admin

    @property
    def asker(self) -> str:
        """Whose streams are counted together."""
        return f"admin {self.admin.name}"


class Event(Protocol):
    """Something that is sent as a server-sent event: a model with these fields."""

    @property
    def id(self) -> str:
        """What a client gives back to go on after it."""

    @property
    def type(self) -> str:
        """Which event; after ``end`` there is none."""

    def model_dump_json(self) -> str:
        """Write it as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """An answer that goes on: server-sent events."""

    events: AsyncIterator[Event]
    keep_alive_seconds: float | None = None
    """After which silence a line says that somebody is still there; None for the usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An answer that is a user's file."""

    opened: OpenOutput
    download: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An answer that is saved as a CSV file, sent while it is made."""

    name: str
    """Of the file, plain ASCII."""
    chunks: AsyncIterator[bytes]


Answer = Model | Events | File | Table | None
Operation = Callable[[Any], Awaitable[Answer]]
"""Takes a `Call`, or an `AdminCall`."""
