"""The kinds that are installed, found by the entry-point group ``himalia.kinds``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from pydantic import JsonValue

from himalia.core.errors import NotFound
from himalia.core.spec import Spec
from himalia.kinds.base import Kind

GROUP = "himalia.kinds"


class Kinds(Mapping[str, Kind[Any]]):
    """Kinds by name."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._collections = {kind.collection: kind for kind in self._kinds.values()}

    def __getitem__(self, name: str) -> Kind[Any]:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def of(self, name: str) -> Kind[Any]:
        """Return the kind called `name` (:raises NotFound:)."""
        try:
            return self._kinds[name]
        except KeyError:
            raise NotFound(f"There is no kind of workload called {name!r}.") from None

    def of_collection(self, collection: str) -> Kind[Any]:
        """Return the kind whose REST collection is `collection` (:raises NotFound:)."""
        try:
            return self._collections[collection]
        except KeyError:
            raise NotFound(f"There is no collection called {collection!r}.") from None

    def decode_spec(self, kind: str, stored: JsonValue) -> Spec:
        """Make the spec of `kind` from JSON that was checked when it came in."""
        spec: Spec = self.of(kind).spec_type.model_validate(stored)
        return spec


def load_kinds() -> Kinds:
    """Load every installed kind."""
    return Kinds(entry.load()() for entry in sorted(entry_points(group=GROUP), key=_name))


def _name(entry: Any) -> str:
    return str(entry.name)
