"""Why a run did not succeed, in plain words, each with what to do next."""

from __future__ import annotations

import errno
import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_LIMIT = 600

NEXT_STEPS = {
    "cell_failed": "Open the executed notebook to see the traceback, mend the cell, and run again "
    "from the failed cell.",
    "kernel_died": "Look at the end of the log for what the cell did last; native code that "
    "crashes and calls that end the process are the usual causes.",
    "out_of_memory": "Load less data at once, or give the job more memory.",
    "too_many_processes": "Start fewer processes at once, and wait for them to end.",
    "timed_out": "Give the job a longer timeout, or make the notebook do less.",
    "cell_timed_out": "Give cells a longer timeout, or make this one do less.",
    "environment_missing": "Choose an environment that is installed, or install this one.",
    "notebook_invalid": "Open the notebook in JupyterLab and save it, or take an earlier version.",
    "stopped_by_user": "Run it again when you want to.",
    "disk_full": "Free some disk space, then run it again.",
    "output_too_large": "Keep fewer or smaller files by narrower output patterns.",
    "export_failed": "The executed notebook is kept: export it by hand, or choose another format.",
    "parameter_invalid": "Mend the parameter named above, or run in an environment of a language "
    "that takes parameters.",
    "internal": "Run it again; when it happens again, report it with the log.",
}


class RunFailed(Exception):
    """Ends a run as failed (or stopped) for a reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = plain(message)

    def to_json(self) -> dict[str, str]:
        """Return the reason as a result carries it."""
        return {"code": self.code, "message": self.message, "next_step": NEXT_STEPS[self.code]}


def plain(text: str, limit: int = _LIMIT) -> str:
    """Return text without terminal colours and control characters, shortened."""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in _ANSI.sub("", text)).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def from_os_error(error: OSError) -> RunFailed:
    """Turn an error of the system's into a failure with a reason."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunFailed("disk_full", "The disk is full.")
    return RunFailed("internal", f"The system refused a step of the runner: {error}")
