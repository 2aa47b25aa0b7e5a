"""Blocking faces of asynchronous methods: one implementation, two ways to call it."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

P = ParamSpec("P")
T = TypeVar("T")

_CLEAN_UP_SECONDS = 5.0


class Portal:
    """A private event loop in a thread of its own, so that it works inside a running loop too."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="himalia-client", daemon=True
        )
        self._thread.start()

    def call(
        self, task: Coroutine[Any, Any, T], *, meanwhile: Callable[[], object] | None = None
    ) -> T:
        """Run `task` to its end, and `meanwhile` in the calling thread.

        An interrupt of the calling thread cancels `task` and lets it clean up.
        """
        ended = threading.Event()

        async def whole() -> T:
            try:
                return await task
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(whole(), self._loop)
        try:
            if meanwhile is not None:
                meanwhile()
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(_CLEAN_UP_SECONDS)
            raise

    @property
    def is_closed(self) -> bool:
        """Whether the thread was ended."""
        return self._loop.is_closed()

    def close(self) -> None:
        """End the thread."""
        if self.is_closed:
            return
        self.call(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """What blocking methods are bound to: an asynchronous object and the loop it lives in."""

    def __init__(self, target: object, portal: Portal) -> None:
        self._target = target
        self._portal = portal


def _call_with_events(
    portal: Portal, method: Callable[..., Coroutine[Any, Any, T]], on_event: Callable[[Any], object]
) -> T:
    """Run `method` in the portal and `on_event` here: displays belong to the calling thread."""
    events: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()

    async def task() -> T:
        try:
            return await method(on_event=lambda event: events.put((event,)))
        finally:
            events.put(None)

    def deliver() -> None:
        while (event := events.get()) is not None:
            on_event(event[0])

    return portal.call(task(), meanwhile=deliver)


class blocking(Generic[P, T]):  # noqa: N801 - used as a function
    """Turn an asynchronous method into a blocking one with the same signature and text."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, T]: ...
    def __get__(self, instance: Blocking | None, owner: type) -> Self | Callable[P, T]:
        """Bind to the instance's asynchronous object."""
        if instance is None:
            return self
        portal, target = instance._portal, instance._target  # noqa: SLF001
        bound = functools.partial(self._method, target)

        @functools.wraps(self._method.__get__(target))
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            on_event = kwargs.pop("on_event", None)
            whole = functools.partial(bound, *args, **kwargs)
            if callable(on_event):
                return _call_with_events(portal, whole, on_event)
            return portal.call(whole())

        return call


class blocking_iterator(Generic[P, T]):  # noqa: N801 - used as a function
    """Turn a method that returns an asynchronous iterator into one that returns an iterator."""

    def __init__(self, method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, instance: Blocking | None, owner: type) -> Self | Callable[P, Iterator[T]]:
        """Bind to the instance's asynchronous object."""
        if instance is None:
            return self
        portal, target = instance._portal, instance._target  # noqa: SLF001

        @functools.wraps(self._method.__get__(target))
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            return _steps(portal, self._method(target, *args, **kwargs))

        return call


async def _next(items: AsyncIterator[T]) -> tuple[T] | None:
    async for item in items:
        return (item,)
    return None


def _steps(portal: Portal, items: AsyncIterator[T]) -> Iterator[T]:
    try:
        while (step := portal.call(_next(items))) is not None:
            yield step[0]
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            portal.call(close())
