"""What would keep users' servers from starting, or from being apart, found when the hub starts."""

from __future__ import annotations

import logging
import subprocess
from functools import cache

from himalia.core.names import user_name
from himalia_hub.settings import Himalia

_NEEDED = ("jupyterhub", "jupyterlab", "himalia", "himalia_hub")
_NOBODY = 65_534
_SECONDS = 30.0
_log = logging.getLogger("himalia.hub")

ONE_PERSON = (
    "This hub does not run as root, so everybody's servers run under the account {name} and can "
    "read each other's files: it is for one person. For a team, run it as root."
)
_CLOSED = (
    "The Python that users' servers run in, {python}, may not be executed by other accounts "
    "({why}). See that every folder above it may be entered by others (chmod o+x), or set "
    "c.Himalia.python to one that is outside of anybody's home: `make hub-environment` builds one "
    "in /opt/himalia."
)
_LACKING = (
    "The Python that users' servers run in, {python}, lacks {names}. Install himalia there with "
    "its extras hub and lab, or set c.Himalia.python."
)


@cache
def why_not(python: str, *, is_root: bool) -> str | None:
    """Say why servers could not start with this Python, if that is so."""
    code = (
        "import importlib.util as u, sys; "
        f"print(*[name for name in {_NEEDED!r} if u.find_spec(name) is None])"
    )
    try:
        done = subprocess.run(  # noqa: S603 - what the administrator chose
            [python, "-I", "-c", code],
            user=_NOBODY if is_root else None,
            group=_NOBODY if is_root else None,
            extra_groups=[] if is_root else None,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _CLOSED.format(python=python, why=getattr(error, "strerror", None) or error)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return _CLOSED.format(python=python, why=last[:300])
    if missing := done.stdout.split():
        return _LACKING.format(python=python, names=", ".join(missing))
    return None


@cache
def warn(python: str, *, is_root: bool) -> None:
    """Log, once, what an administrator has to know."""
    if not is_root:
        _log.warning("%s", ONE_PERSON.format(name=user_name()))
    if (text := why_not(python, is_root=is_root)) is not None:
        _log.error("%s", text)


def warn_of(settings: Himalia) -> None:
    """Log, once, what an administrator has to know of these settings."""
    warn(settings.python, is_root=settings.is_root)
