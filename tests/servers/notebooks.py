"""Notebooks, by themselves and as they lie in snapshots."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from himalia.core.places import Places


def notebook(*cells: str) -> str:
    """Return the text of a notebook of these cells."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": []}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": [
                {**empty, "id": f"c{number}", "source": source, "execution_count": None}
                for number, source in enumerate(cells)
            ],
        }
    )


def write(path: Path, *cells: str) -> Path:
    """Write a notebook as whoever its folder belongs to."""
    path.write_text(notebook(*cells))
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
    return path


def pinned(places: Places, *cells: str) -> str:
    """Put a notebook ``n.ipynb`` of these cells into a snapshot; return the digest."""
    data = notebook(*cells).encode()
    digest = hashlib.sha256(data).hexdigest()
    folder = places.snapshots / digest / "files"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "n.ipynb").write_bytes(data)
    return f"sha256:{digest}"
