"""Himalia: the open AI platform that lives in Jupyter."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from himalia.client import AsyncClient as AsyncClient
    from himalia.client import Client as Client
    from himalia.client.tokens import token as token

__version__ = "0.1.0"

# Imported when first used: a kernel, a server and a shell each need only one of them.
_LAZY = {
    "AsyncClient": "himalia.client",
    "Client": "himalia.client",
    "load_ipython_extension": "himalia.magics",
    "token": "himalia.client.tokens",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter servers where the extension is."""
    from himalia.extension import HimaliaExtension  # noqa: PLC0415 - only servers need it

    return [{"module": "himalia.extension", "app": HimaliaExtension}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the panel is."""
    return [{"src": "labextension", "dest": "@himalia/lab"}]
