"""A runner in a container of its own: ``python -m himalia.runners.pod MODULE ATTEMPT_FOLDER``.

The folder was prepared on another machine. Whoever makes its mark first executes; any other such
container ends at once, with nothing done.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from himalia.runners.attempt import LOCK_FD, AttemptFolder, read_json, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute an attempt, unless somebody has, does or must not; return the exit code."""
    module, path = sys.argv[1:] if arguments is None else arguments
    folder = AttemptFolder(Path(path))
    os.umask(0o077)
    plan = read_json(folder.plan)
    if plan is None:
        sys.stderr.write(f"There is no plan in {folder.path}.\n")
        return 1
    if not folder.begin():
        return 0
    lock = folder.take()
    if lock is None:
        # Where locks do reach, it is another's after all.
        return 0
    # This container's variables are the machine's here; none of them is secret.
    write_json(folder.plan, {**plan, "env": {**os.environ, **(plan.get("env") or {})}})
    os.environ[LOCK_FD] = str(lock)
    os.chdir(folder.work)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    console = os.open(folder.console, flags, 0o600)
    for target in (1, 2):
        os.dup2(console, target)
    os.close(console)
    return int(importlib.import_module(module).main([str(folder.path)]))


if __name__ == "__main__":
    sys.exit(main())
