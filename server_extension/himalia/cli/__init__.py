"""The shell's way to Himalia: ``himalia job run report.ipynb --wait``."""

from __future__ import annotations

from himalia.cli.root import main

__all__ = ["main"]
