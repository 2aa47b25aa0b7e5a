"""Runs a notebook: ``python -m himalia.runners.notebook ATTEMPT_FOLDER``.

By hand, without a backend: ``python -m himalia.runners.notebook NOTEBOOK.ipynb --output FOLDER
-p name=value``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from himalia.runners.attempt import AttemptFolder, claim, read_json
from himalia.runners.notebook_run import NotebookRun

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute an attempt, or run a notebook by hand; return the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if len(arguments) == 1 and Path(arguments[0], "plan.json").is_file():
        return execute(AttemptFolder(Path(arguments[0]).absolute()))
    from himalia.runners.by_hand import run_by_hand  # noqa: PLC0415 - a person can wait for it

    return run_by_hand(arguments)


def execute(folder: AttemptFolder) -> int:
    """Execute an attempt, unless somebody has, does or must not."""
    lock = claim(folder)
    if lock is None:
        return 0
    plan = read_json(folder.plan)
    if plan is None:
        return 1
    return NotebookRun(folder, plan).go()


if __name__ == "__main__":
    sys.exit(main())
