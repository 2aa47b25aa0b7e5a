"""Headers for files that users' code made: shown without rights, saved under a safe name."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from himalia.core.model import Output

SANDBOX = (
    "sandbox; default-src 'none'; img-src data: blob:; media-src data:; font-src data:; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""An origin of its own, no scripts, nothing fetched: for whatever HTML or SVG holds."""
_MEDIA_TYPE = re.compile(r"^[a-z]+/[a-z0-9][a-z0-9.+-]*$")
_NAME_LIMIT = 150


def file_headers(output: Output, *, download: bool) -> dict[str, str]:
    """Return the headers that an output is sent with."""
    return {
        "Content-Type": _media_type(output.media_type),
        "Content-Length": str(output.size_bytes),
        "Content-Disposition": _disposition(output.name, download=download),
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Himalia-Role": output.role,
    }


def _media_type(text: str) -> str:
    if not _MEDIA_TYPE.match(text):
        return "application/octet-stream"
    return f"{text}; charset=utf-8" if text.startswith("text/") else text


def _disposition(name: str, *, download: bool) -> str:
    """Write the header of RFC 6266: a name for old clients, and the real one."""
    safe = _safe(name)
    plain = unicodedata.normalize("NFKD", safe).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w. ()+-]", "_", plain, flags=re.ASCII).strip() or "output"
    kind = "attachment" if download else "inline"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


def _safe(name: str) -> str:
    """Keep the last part, without what hides or turns around what follows it."""
    last = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode()
    shown = "".join(char for char in last if char.isprintable()).strip(" .")
    if len(shown) > _NAME_LIMIT:
        shown = shown[: _NAME_LIMIT - 20] + shown[-20:]
    return shown or "output"
