"""What the parts of the local service share, and the few rules that all of them follow."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from himalia.backends.base import Backend
from himalia.core.errors import FieldProblem, InvalidInput, TooMany
from himalia.core.keeper import Keeper
from himalia.core.model import Workload
from himalia.core.premises import Premises
from himalia.core.profiles import Profile, chosen
from himalia.core.reconciler import Reconciler
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.core.ticker import Ticker
from himalia.kinds.registry import Kinds
from himalia.store.base import Key, Store

_MAX_KEY = 255
_S = TypeVar("_S", bound=Spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that the service is made of."""

    store: Store
    backend: Backend
    premises: Premises
    kinds: Kinds
    reconciler: Reconciler
    ticker: Ticker
    keeper: Keeper
    max_unended: int
    """Runs that may wait or be on at once."""
    admission: asyncio.Lock
    """Held from the count of runs to the insert of more."""

    async def made_under(self, key: Key | None) -> str | None:
        """Return the id of what an earlier call with the same key made.

        Asked before anything is checked, so that a repeated request gets its answer whatever has
        become of the files it spoke of.

        :raises Conflict: the key was used for another request.
        """
        return None if key is None else await self.store.made_under(key)

    async def profile(self, owner: str, name: str) -> Profile | None:
        """Return the profile that an owner chose; None where they chose none.

        :raises InvalidInput: they may choose no such profile.
        """
        return chosen(name, await self.backend.profiles(owner)) if name else None

    @asynccontextmanager
    async def room(self, runs: int) -> AsyncIterator[None]:
        """Let `runs` more runs be stored within the context.

        :raises TooMany: there would be more than `max_unended`.
        """
        async with self.admission:
            if runs:
                unended = sum((await self.store.runs.counts()).values())
                if unended + runs > self.max_unended:
                    raise TooMany(
                        f"{unended} runs wait or are on, and no more than {self.max_unended} may. "
                        "Try again when some have ended, or stop some."
                    )
            yield


def key_of(caller: Caller, key: str | None, *request: str, body: BaseModel) -> Key | None:
    """Return the idempotency key with a digest of what is asked, if there is a key.

    :raises InvalidInput: it is empty, too long or not printable.
    """
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY or not key.isprintable():
        raise InvalidInput.of("Idempotency-Key", f"write 1 to {_MAX_KEY} printable characters")
    asked = [*request, str(caller.root), body.model_dump(mode="json")]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Key(owner=caller.owner, key=key, digest=digest)


@contextmanager
def fields_under(prefix: str) -> Iterator[None]:
    """Have the fields that an InvalidInput names start with `prefix`, as its user wrote them."""
    try:
        yield
    except InvalidInput as error:
        problems = tuple(
            FieldProblem(field=f"{prefix}.{problem.field}", message=problem.message)
            for problem in error.problems
        )
        text = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(text or error.message, problems=problems) from error


def shown(workload: Workload[_S]) -> Workload[_S]:
    """Return the workload without the secrets that its notifications are signed with."""
    if not any(item.secret for item in workload.spec.notify):
        return workload
    notify = tuple(item.model_copy(update={"secret": None}) for item in workload.spec.notify)
    spec = workload.spec.model_copy(update={"notify": notify})
    return workload.model_copy(update={"spec": spec})


def with_secrets(spec: _S, earlier: Spec) -> _S:
    """Return `spec` with the secrets of `earlier` where it names the same webhook and no secret."""
    kept = {item.webhook: item.secret for item in earlier.notify if item.webhook and item.secret}
    notify = tuple(
        item.model_copy(update={"secret": kept[item.webhook]})
        if item.secret is None and item.webhook in kept
        else item
        for item in spec.notify
    )
    return spec.model_copy(update={"notify": notify})
