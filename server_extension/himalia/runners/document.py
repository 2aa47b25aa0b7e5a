"""Notebook files: read, checked as far as execution needs it, and written whole.

nbformat's own validation compiles a schema for a third of a second, and only logs what it finds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from himalia.runners.attempt import write_file
from himalia.runners.failure import RunFailed

_CELL_TYPES = ("code", "markdown", "raw")


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON as it stands in its file.

    :raises RunFailed: it is missing or no notebook.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise RunFailed("notebook_invalid", f"There is no notebook {path.name}.") from error
    except RecursionError as error:
        raise RunFailed("notebook_invalid", f"{path.name} is nested too deeply.") from error
    except ValueError as error:
        raise RunFailed("notebook_invalid", f"{path.name} is not JSON: {error}") from error
    problem = _problem(document) or _cells_problem(document)
    if problem:
        raise RunFailed("notebook_invalid", f"{path.name} is not a notebook: {problem}")
    return dict(document)


def _problem(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "it is not an object."
    if not isinstance(document.get("nbformat"), int):
        return "it has no format version (nbformat)."
    if not isinstance(document.get("metadata", {}), dict):
        return "its metadata is not an object."
    if document["nbformat"] > 4:
        return f"format version {document['nbformat']} is newer than this can read."
    return None


def _cells_problem(document: dict[str, Any]) -> str | None:
    if document["nbformat"] < 4:
        return None
    cells = document.get("cells")
    if not isinstance(cells, list):
        return "it has no list of cells."
    for number, cell in enumerate(cells, 1):
        problem = _cell_problem(cell)
        if problem:
            return f"cell {number} {problem}"
    return None


def _cell_problem(cell: Any) -> str | None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in _CELL_TYPES:
        return "is of no known type."
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    if not all(isinstance(line, str) for line in lines):
        return "has no source."
    metadata = cell.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tags", []), list):
        return "has metadata of the wrong kind."
    if not isinstance(cell.get("outputs", []), list):
        return "has outputs of the wrong kind."
    return None


def kernel_name(document: dict[str, Any]) -> str | None:
    """Return the kernel that a notebook asks for."""
    spec = document.get("metadata", {}).get("kernelspec")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else None


def prepare_nbformat() -> None:
    """Have nbformat imported without the grammar of international addresses.

    Building it takes most of a second, for a format checker that notebooks have no use for.
    jsonschema does without where the package is not installed
    (https://python-jsonschema.readthedocs.io/en/stable/validate/#validating-formats).
    """
    name = "rfc3987_syntax"
    if name in sys.modules:
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        import nbformat  # noqa: F401, PLC0415
    finally:
        del sys.modules[name]


def to_version_4(document: dict[str, Any]) -> Any:
    """Return the notebook in nbformat's own type, converted from older versions.

    :raises RunFailed: it cannot be converted.
    """
    prepare_nbformat()
    import nbformat  # noqa: PLC0415
    from nbformat.v4.rwbase import rejoin_lines  # noqa: PLC0415

    try:
        if document["nbformat"] < 4:
            return nbformat.reads(json.dumps(document), as_version=4)  # type: ignore[no-untyped-call]
        for cell in document["cells"]:
            cell.setdefault("metadata", {})
            if cell["cell_type"] == "code":
                cell.setdefault("outputs", [])
                cell.setdefault("execution_count", None)
        document.setdefault("metadata", {})
        return rejoin_lines(nbformat.from_dict(document))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise RunFailed("notebook_invalid", f"The notebook cannot be converted: {error}") from error


def write_notebook(notebook: Any, path: Path) -> None:
    """Write a notebook as nbformat does, complete or not at all."""
    from nbformat import v4  # noqa: PLC0415

    text: str = v4.writes(notebook)  # type: ignore[no-untyped-call]
    write_file(path, text.encode("utf-8", "surrogateescape") + b"\n")
