"""JupyterLab without questions that are not a hub user's to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Hook = Callable[[Any, dict[str, Any]], dict[str, Any]]
_HOOK = "page_config_hook"
_ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
"""It asks everybody whether they want news from the internet, and tells of releases."""


def silence(settings: dict[str, Any]) -> None:
    """Leave announcements out of the pages of a Jupyter server with these settings."""
    earlier: Hook | None = settings.get(_HOOK)

    def hook(handler: Any, page: dict[str, Any]) -> dict[str, Any]:
        page = earlier(handler, page) if earlier is not None else page
        disabled = list(page.get("disabledExtensions", ()))
        return {**page, "disabledExtensions": [*disabled, _ANNOUNCEMENTS]}

    settings[_HOOK] = hook
