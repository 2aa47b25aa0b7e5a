"""Programs that a hub needs besides itself: a Python for users' servers, and a proxy.

`make test` builds both (``make hub-environment hub-proxy``) and names the Python in
HIMALIA_SERVER_PYTHON; a test that is run by hand builds what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PROXY = ROOT / "hub/proxy/node_modules/.bin/configurable-http-proxy"
_MAKE_SECONDS = 900.0


@cache
def server_python() -> Path:
    """Return a Python with all of Himalia that any account of this machine may execute."""
    named = os.environ.get("HIMALIA_SERVER_PYTHON")
    if named:
        return Path(named)
    if os.geteuid() != 0:
        return Path(sys.executable)
    return Path(_make("hub-environment").splitlines()[-1])


@cache
def proxy() -> Path:
    """Return the program of the proxy."""
    if not _PROXY.exists():
        _make("hub-proxy")
    return _PROXY


def _make(target: str) -> str:
    done = subprocess.run(
        ["make", "--silent", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_MAKE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"`make {target}` failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout
