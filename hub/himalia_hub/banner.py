"""What an admin told everybody, on the hub's own pages."""

from __future__ import annotations

import asyncio
import html
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from traitlets.config import Config

from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.settings import Himalia
from himalia_hub.state import State

if TYPE_CHECKING:
    from himalia.core.team import Notice

_DRAINING = "Nothing new starts for the moment; what runs goes on."


class Banner:
    """A template variable: JupyterHub calls it for every page, so it reads only what changed."""

    def __init__(self, c: Config) -> None:
        self._c = c
        self._path: Path | None = None
        self._seen: tuple[int, int] | None = None
        self._text = ""
        self._following: asyncio.Task[None] | None = None

    def __call__(self, _: object) -> str:
        """Return the banner as HTML, which is empty where there is none."""
        if self._path is None:
            self._path = self._begin()
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self._seen:
                self._text, self._seen = _text(self._path.read_bytes()), stamp
        except FileNotFoundError:
            self._text, self._seen = "", None
        except (OSError, ValueError):
            pass  # A page without the newest banner is better than none.
        return self._text

    def _begin(self) -> Path:
        """Return the file with the notice; where control is in another pod, have it written."""
        settings = Himalia(config=self._c)
        state = State.of(settings)
        if not settings.is_machine:
            from himalia_hub.kubernetes.herald import follow  # noqa: PLC0415 - a cluster's alone

            following = follow(Kubernetes(config=self._c), state.prepare())
            self._following = asyncio.get_running_loop().create_task(following)
        return state.notice

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy would go by a copy of the file's configuration.
        return self


def _text(content: bytes) -> str:
    said = json.loads(content)
    parts = [str(said.get("banner") or "")]
    if said.get("is_draining"):
        parts.append(_DRAINING)
    return "<br>".join(html.escape(part) for part in parts if part)


def announce(state: State, notice: Notice) -> None:
    """Have the hub's pages show what an admin told everybody."""
    said = {"banner": notice.banner, "is_draining": notice.is_draining}
    new = state.notice.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(said), encoding="utf-8")
    new.replace(state.notice)
