"""What every hub with Himalia has at its entrance, whichever authenticator it has.

JupyterHub has no place where a configuration could add this for an authenticator that is chosen
after `configure(c)`. So it is added to JupyterHub's own table of addresses, and around the one
method of authenticators that none of them replaces.
"""

from __future__ import annotations

import gc
import hashlib
import ipaddress
import secrets
import sys
from collections.abc import Mapping
from functools import wraps
from typing import Any

from tornado import web

from himalia_hub.attempts import Allowance, Attempts
from himalia_hub.later import settings_of
from himalia_hub.settings import Himalia

_MADE_BETWEEN_COLLECTIONS = 20_000
"""Objects; Python's own 700 are a tenth of what one login makes."""
_SCOPES_REMEMBERED = 128
"""Of each kind; JupyterHub's own 1024 take 60 MB with our scopes, and help nobody: whoever's scopes
are worked out once has some requests more within a second, and the next in minutes."""
_SETTING = "himalia_attempts"
_COOKIE = "himalia-known"
_COOKIE_DAYS = 90
_FROM_ALL_ADDRESSES = 5
"""How many times as many attempts one account has, from all addresses together."""
_FOR_ALL_ACCOUNTS = 20
"""How many times as many attempts one address has, for all accounts together: a whole class may
sit behind one, and log in at the same moment."""
TOO_MANY = "Too many wrong passwords. Wait {seconds} seconds, then try again."
Wanted = Mapping[tuple[str, ...], Allowance]


def furnish() -> None:
    """Add to JupyterHub what it lacks. May be called again; elsewhere than in a hub, does nothing.

    Control reads the same configuration, and does without all that a hub is made of.
    """
    if "jupyterhub.app" not in sys.modules:
        return
    from jupyterhub import apihandlers, auth  # noqa: PLC0415 - they are there already

    from himalia_hub import directory  # noqa: PLC0415 - made of parts of JupyterHub
    from himalia_hub.identity import changes  # noqa: PLC0415 - made of parts of JupyterHub

    for route in (
        (changes.PATH, changes.ChangesHandler),
        (directory.PATH, directory.DirectoryHandler),
    ):
        if route not in apihandlers.default_handlers:
            apihandlers.default_handlers.append(route)
    plain = auth.Authenticator.get_authenticated_user
    if hasattr(plain, "__wrapped__"):
        return
    _remember_fewer_scopes()
    _look_less_for_garbage()

    @wraps(plain)
    async def guarded(self: Any, handler: Any, data: Any) -> Any:
        guard = _guard(self, handler, data)
        if guard is None:
            return await plain(self, handler, data)
        return await guard.let_in(plain(self, handler, data))

    auth.Authenticator.get_authenticated_user = guarded


def _remember_fewer_scopes() -> None:
    """Bound what JupyterHub remembers of scopes that it has worked out."""
    from jupyterhub._memoize import LRUCache  # noqa: PLC0415 - it is there already

    for found in gc.get_objects():
        if isinstance(found, LRUCache):
            found.maxsize = min(found.maxsize, _SCOPES_REMEMBERED)


def _look_less_for_garbage() -> None:
    """Have Python look through the hub's memory less often: nearly all that it makes, it keeps."""
    gc.collect()
    # All modules of the hub are there: no collection need look at them again.
    gc.freeze()
    gc.set_threshold(_MADE_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])


def _guard(authenticator: Any, handler: Any, data: Any) -> _Guard | None:
    """Return what looks after a login by a form; others bring what a provider checked."""
    if handler is None or not isinstance(data, dict) or "username" not in data:
        return None
    its = settings_of(authenticator.config)
    if its.login_failures <= 0:
        return None
    name = authenticator.normalize_username(str(data["username"]))
    trusted = authenticator.parent.trusted_downstream_ips if authenticator.parent else ()
    return _Guard(its, handler, name, address(handler.request, trusted))


class _TooMany(web.HTTPError):
    """Names what JupyterHub looks for in an error: what its page says, and headers."""

    jupyterhub_message = ""
    headers: Mapping[str, str] = {}


class _Guard:
    """Looks after one attempt."""

    def __init__(self, its: Himalia, handler: Any, name: str, where: str) -> None:
        self._handler = handler
        self._name = name
        # The same for names of any length, and no name is left with whoever uses the browser next.
        self._account = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]
        self._attempts: Attempts = handler.settings.setdefault(_SETTING, Attempts())
        self._wanted = self._what_counts(its, where)

    def _what_counts(self, its: Himalia, where: str) -> Wanted:
        def allowance(times: int) -> Allowance:
            attempts = its.login_failures * times
            return Allowance(attempts=attempts, seconds=its.login_window_seconds)

        if browser := self._known_browser():
            # Whoever has been in before does not wait for what strangers do.
            return {("browser", self._account, browser): allowance(1)}
        return {
            ("pair", self._account, where): allowance(1),
            ("account", self._account): allowance(_FROM_ALL_ADDRESSES),
            ("address", where): allowance(_FOR_ALL_ACCOUNTS),
        }

    def _known_browser(self) -> str:
        kept = self._handler.get_secure_cookie(_COOKIE, max_age_days=_COOKIE_DAYS) or b""
        account, _, browser = kept.decode().partition(":")
        return browser if account == self._account else ""

    async def let_in(self, asking: Any) -> Any:
        """Return what the authenticator says (:raises web.HTTPError: wait)."""
        # Counted before the answer, so that many at once are counted too.
        if seconds := self._attempts.take(self._wanted):
            asking.close()
            raise self._refusal(seconds)
        found = await asking
        if found:
            self._attempts.give_back(self._wanted)
            self._remember()
        return found

    def _remember(self) -> None:
        browser = self._known_browser() or secrets.token_hex(8)
        # As JupyterHub does: with the hub's options for cookies, and for TLS alone if there is.
        self._handler._set_cookie(  # noqa: SLF001
            _COOKIE,
            f"{self._account}:{browser}",
            expires_days=_COOKIE_DAYS,
            path=self._handler.hub.base_url,
        )

    def _refusal(self, seconds: int) -> web.HTTPError:
        error = _TooMany(429, "too many wrong passwords")
        error.jupyterhub_message = TOO_MANY.format(seconds=seconds)
        error.headers = {"Retry-After": str(seconds)}
        return error


def address(request: Any, trusted: Any) -> str:
    """Return where a request comes from, by what the proxies in front of the hub say.

    Not by X-Real-IP, which Tornado believes and proxies pass on from whoever made it up. An
    address of version 6 is as much as its network: one machine has a great many.
    """
    chain = request.headers.get("X-Forwarded-For", "").split(",")
    chain = [one.strip() for one in chain if one.strip()]
    found = next((one for one in reversed(chain) if one not in set(trusted)), "")
    found = found or (chain[0] if chain else str(request.remote_ip))
    try:
        parsed = ipaddress.ip_address(found.partition("%")[0])
    except ValueError:
        return "unknown"
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed.ipv4_mapped if parsed.version == 6 else parsed)
