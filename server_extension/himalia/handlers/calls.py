"""What an operation gets and gives: no trace of HTTP or of the server that carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from himalia.core.errors import NotFound
from himalia.core.model import RunEvent
from himalia.core.names import is_id
from himalia.core.service import Caller, OpenOutput, WorkloadService
from himalia.core.spec import Model

Q = TypeVar("Q", bound=Model)
B = TypeVar("B", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Q, B]):
    """A request, decoded and checked."""

    service: WorkloadService
    caller: Caller
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
class Events:
    """An answer that goes on: server-sent events."""

    events: AsyncIterator[RunEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An answer that is a user's file."""

    opened: OpenOutput
    download: bool


Answer = Model | Events | File | None
Operation = Callable[[Call[Any, Any]], Awaitable[Answer]]
