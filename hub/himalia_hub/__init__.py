"""The hub side of Himalia: JupyterHub set up for a team."""

from __future__ import annotations

from himalia_hub.configure import configure

__all__ = ["configure"]
