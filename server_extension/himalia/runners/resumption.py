"""Where a run goes on from an earlier one, and what it takes over from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from himalia.runners.document import read_notebook, to_version_4
from himalia.runners.failure import RunFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """Cells before `first` keep the outputs they have in `cells`."""

    first: int = 0
    cells: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, outputs: str | None, name: str, notebook: Any) -> Resumption:
        """Find the cell that failed in the earlier run's executed notebook.

        Where that notebook is gone or is another one, everything runs anew.
        """
        if outputs is None:
            return cls()
        try:
            earlier = to_version_4(read_notebook(Path(outputs) / name)).cells
        except (RunFailed, OSError):
            return cls()
        first = 0
        for cell, old in zip(notebook.cells, earlier, strict=False):
            if cell.source != old.source or cell.cell_type != old.cell_type or not _went_well(old):
                break
            first += 1
        return cls(first=first, cells=earlier)


def _went_well(cell: Any) -> bool:
    if cell.cell_type != "code" or not cell.source.strip():
        return True
    tags = cell.metadata.get("tags") or []
    if "skip-execution" in tags:
        return True
    if cell.get("execution_count") is None:
        return False
    if "raises-exception" in tags:
        return True
    return all(output.get("output_type") != "error" for output in cell.get("outputs", []))
