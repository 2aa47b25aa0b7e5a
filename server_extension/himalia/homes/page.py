"""The page on which a home is cleaned up: it tells what fills it, and deletes what may go."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote_to_bytes

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.template import Loader
from typing_extensions import override

from himalia.core.errors import HimaliaError, InvalidInput, NotFound
from himalia.core.homes import Gauge
from himalia.homes.filling import contents, remove
from himalia.homes.start import PAGE

_WAIT_SECONDS = 20.0
_TEMPLATES = Loader(str(Path(__file__).parent), autoescape="xhtml_escape")
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@dataclass(slots=True, kw_only=True)
class Cleaning:
    """One home that is cleaned up."""

    home: Path
    gauge: Gauge
    why: str = ""
    """Why the server runs without it, where it does."""
    hub: str = ""
    """The hub's page on which a server is stopped and started."""
    going: dict[tuple[str, ...], asyncio.Task[None]] = field(default_factory=dict)
    """What is being deleted."""

    async def remove(self, parts: tuple[str, ...]) -> None:
        """Delete something; what takes long goes on (raises as `filling.remove`)."""
        doing = self.going.get(parts)
        if doing is None:
            doing = asyncio.create_task(asyncio.to_thread(remove, self.home, parts))
            self.going[parts] = doing
            doing.add_done_callback(lambda _: self.going.pop(parts, None))
        done, _ = await asyncio.wait({doing}, timeout=_WAIT_SECONDS)
        self.gauge.forget()
        for one in done:
            one.result()


class HomePage(JupyterHandler):
    """Shows one folder, and deletes what is in it; for whom Jupyter lets in."""

    auth_resource: ClassVar[str] = "himalia:home"
    cleaning: Cleaning

    @override
    def initialize(self, cleaning: Cleaning) -> None:
        self.cleaning = cleaning

    @property
    @override
    def content_security_policy(self) -> str:
        return _POLICY

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Show a folder."""
        await self._show(_parts(self.get_query_argument("in", "", strip=False)))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Delete one thing, and show where it was."""
        parts = _parts(self.get_body_argument("path", "", strip=False))
        try:
            await self.cleaning.remove(parts)
        except HimaliaError as error:
            await self._show(parts[:-1], error)
            return
        self.redirect(self._address(parts[:-1]), status=303)

    async def _show(self, parts: tuple[str, ...], wrong: HimaliaError | None = None) -> None:
        cleaning = self.cleaning
        try:
            found = await asyncio.to_thread(contents, cleaning.home, parts)
        except (NotFound, InvalidInput) as error:
            wrong, parts = wrong or error, ()
            found = await asyncio.to_thread(contents, cleaning.home, parts)
        if wrong is not None:
            self.set_status(wrong.http_status)
        page = _TEMPLATES.load("page.html").generate(
            address=self._address,
            action=self._address(()),
            code=_code,
            shown=_shown,
            size=_size,
            parts=parts,
            found=found,
            use=await cleaning.gauge.read(),
            why=cleaning.why,
            hub=cleaning.hub,
            lab=f"{self.base_url}lab",
            going=["/".join(map(_shown, one)) for one in cleaning.going],
            wrong=wrong.message if wrong is not None else "",
            xsrf=self.xsrf_token.decode(),
        )
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(page)

    def _address(self, parts: tuple[str, ...]) -> str:
        base = f"{self.base_url.rstrip('/')}{PAGE}"
        return f"{base}?in={quote(_code(parts))}" if parts else base


def home_handlers(cleaning: Cleaning) -> list[tuple[str, type[HomePage], dict[str, Any]]]:
    """Return what serves the page, below a Jupyter server's base address."""
    return [(PAGE, HomePage, {"cleaning": cleaning})]


def _code(parts: tuple[str, ...]) -> str:
    """Write names, whatever bytes they are made of, so that a form sends them back as they are."""
    return "/".join(quote(os.fsencode(part), safe="") for part in parts)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(os.fsdecode(unquote_to_bytes(part)) for part in text.split("/") if part)


def _shown(name: str) -> str:
    """Return a name fit to be read: nothing in it turns the direction of what follows."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.{0 if value >= 10 or units[0] == 'B' else 1}f} {units[0]}"
