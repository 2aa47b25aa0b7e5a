"""Values of a configuration that are worked out when they are read.

``configure(c)`` stands somewhere in a file whose later lines may change what it goes by. So it puts
these in place of values: traitlets asks for them when JupyterHub is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

from traitlets import TraitType
from traitlets.config import Config
from traitlets.config.loader import DeferredConfig, LazyConfigValue
from typing_extensions import override

from himalia_hub.settings import Himalia

T = TypeVar("T")
Work = Callable[[Himalia, Config], T]


class Later(DeferredConfig, Generic[T]):
    """A value that follows from the settings; None means the trait's own default."""

    def __init__(self, c: Config, work: Work[T | None]) -> None:
        self._c = c
        self._work = work

    @override
    def get_value(self, trait: TraitType[Any, Any]) -> Any:
        value = self._work(Himalia(config=self._c), self._c)
        return trait.default() if value is None else value

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy would go by a copy of the file's configuration.
        return self

    def __repr__(self) -> str:
        return "<from c.Himalia>"


class LaterList(list[Any], DeferredConfig):
    """A list that the file may still add to, completed from the settings."""

    def __init__(
        self, items: Iterable[Any], c: Config, work: Callable[[list[Any], Himalia], list[Any]]
    ) -> None:
        super().__init__(items)
        self._c = c
        self._work = work

    @override
    def get_value(self, trait: TraitType[Any, Any]) -> Any:
        return self._work(list(self), Himalia(config=self._c))

    def __add__(self, other: list[Any]) -> Self:
        return type(self)([*self, *other], self._c, self._work)

    def __radd__(self, other: list[Any]) -> Self:
        return type(self)([*other, *self], self._c, self._work)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self, self._c, self._work)


_shared: tuple[Config, Himalia] | None = None


def settings_of(config: Config) -> Himalia:
    """Return the settings that a configuration has, the same ones each time: a hub makes a spawner
    for every user.
    """
    global _shared  # noqa: PLW0603 - one process has one configuration
    if _shared is None or _shared[0] is not config:
        _shared = config, Himalia(config=config)
    return _shared[1]


def items_of(value: Any) -> list[Any]:
    """Return what a file said of a list, in whichever of traitlets' ways."""
    return list(value.get_value([]) if isinstance(value, LazyConfigValue) else value)


def entries_of(value: Any) -> dict[str, Any]:
    """Return what a file said of a dictionary, in whichever of traitlets' ways."""
    found: Mapping[str, Any] = value.get_value({}) if isinstance(value, LazyConfigValue) else value
    return dict(found)
