"""Starts a user's server: ``python -P -s -m himalia.homes.start``, with JupyterHub's arguments.

Where nothing can be written to the home it starts all the same, with a scratch folder in the
home's place and a page on which the home is cleaned up.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from himalia.core.homes import PROJECTS, RESCUED

WHY = "HIMALIA_RESCUED_WHY"
PAGE = "/himalia/home"
_PROBE_BYTES = 2**20
"""What a server writes before its page can be seen is less."""
_OF_HOME = (
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTERLAB_SETTINGS_DIR"),
    *("JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "MPLCONFIGDIR", "HIMALIA_HOME"),
    *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
)


def main() -> None:
    """Become the server."""
    home = Path(os.environ.get("HOME") or "~").expanduser()
    why = trouble(home)
    if why is not None:
        scratch = tempfile.mkdtemp(prefix="himalia-rescue-")
        changed = rescue(os.environ, home, Path(scratch), why)
        os.environ.clear()
        os.environ.update(changed)
    else:
        lead_to(Path(PROJECTS), home / "projects")
    from jupyterhub.singleuser import main as serve  # noqa: PLC0415 - reads the variables

    serve()


def lead_to(place: Path, link: Path) -> None:
    """Have a link in the home lead to what lies beside it, as long as that is there."""
    with suppress(OSError):
        if place.is_dir() and not os.path.lexists(link):
            link.symlink_to(place)
        elif not place.is_dir() and link.is_symlink() and link.readlink() == place:
            link.unlink()


def trouble(home: Path) -> str | None:
    """Say why nothing can be written to a home; None where it can."""
    probe = home / f".himalia-probe-{secrets.token_hex(8)}"
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.strerror or type(error).__name__
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            # Servers of files tell only then that they are full.
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        probe.unlink(missing_ok=True)
    return None


def rescue(
    variables: Mapping[str, str], home: Path, scratch: Path, why: str
) -> MutableMapping[str, str]:
    """Return the variables of a server that writes to `scratch` and opens with the page."""
    made = {name: value for name, value in variables.items() if name not in _OF_HOME}
    root = variables.get("JUPYTERHUB_ROOT_DIR") or str(home)
    made |= {
        "HOME": str(scratch),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        # What is there is still shown, and can be removed there too.
        "JUPYTERHUB_ROOT_DIR": str(home) + root[1:] if root.startswith("~") else root,
        "JUPYTERHUB_DEFAULT_URL": PAGE,
        RESCUED: str(home),
        WHY: why,
    }
    return made


if __name__ == "__main__":
    main()
