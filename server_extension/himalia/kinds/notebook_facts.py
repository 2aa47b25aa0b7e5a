"""What a job must know of a notebook before it runs, read as plain JSON.

nbformat would know more, at the price of 20 MB and a second for every process that checks jobs.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PARAMETERS_TAG = "parameters"
_MAGIC = re.compile(r"^\s*[%!?]")
_CELL_TYPES = frozenset({"code", "markdown", "raw"})


class NotebookError(ValueError):
    """Says what is wrong with a file, and what to do, in words for its user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookFacts:
    """What a notebook says of itself."""

    kernel: str | None
    """Name of the kernel that it asks for."""
    language: str | None
    parameter_cell: str | None
    """Source of the first code cell tagged ``parameters``."""

    def parameter_names(self) -> frozenset[str] | None:
        """Return the names that the parameter cell assigns to, or None where any name will do:
        there is no such cell, or it cannot be read as Python.
        """
        if self.parameter_cell is None:
            return None
        lines = self.parameter_cell.splitlines()
        source = "\n".join("" if _MAGIC.match(line) else line for line in lines)
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        return frozenset(_assigned(tree))


def read_notebook(data: bytes) -> NotebookFacts:
    """Read the bytes of a notebook file (:raises NotebookError: it is none that can be run)."""
    try:
        notebook = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotebookError("this is not a notebook: it is not JSON") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("nbformat"), int):
        raise NotebookError("this is not a notebook: it names no nbformat version")
    if notebook["nbformat"] < 4:
        raise NotebookError(
            f"this notebook has the old format {notebook['nbformat']}; open it in JupyterLab and "
            "save it, or run: jupyter nbconvert --to notebook --inplace FILE"
        )
    if notebook["nbformat"] > 4:
        raise NotebookError(f"this notebook has the unknown format {notebook['nbformat']}")
    metadata = notebook.get("metadata", {})
    if not isinstance(metadata, dict):
        raise NotebookError("this is not a notebook: its metadata is not an object")
    cells = list(_cells(notebook))
    kernelspec, language = _object(metadata, "kernelspec"), _object(metadata, "language_info")
    return NotebookFacts(
        kernel=_text(kernelspec, "name"),
        language=_text(kernelspec, "language") or _text(language, "name"),
        parameter_cell=next((source for source, tags in cells if PARAMETERS_TAG in tags), None),
    )


def _cells(notebook: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield source and tags of each code cell."""
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise NotebookError("this is not a notebook: it has no list of cells")
    for index, cell in enumerate(cells):
        if not isinstance(cell, dict) or cell.get("cell_type") not in _CELL_TYPES:
            raise NotebookError(f"cell {index} is neither code nor markdown nor raw")
        source = cell.get("source")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise NotebookError(f"the source of cell {index} is not text")
        if cell["cell_type"] == "code":
            tags = _object(cell, "metadata").get("tags")
            yield source, tags if isinstance(tags, list) else []


def _assigned(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _text(parent: dict[str, Any], key: str) -> str | None:
    value = parent.get(key)
    return value if isinstance(value, str) and value else None
