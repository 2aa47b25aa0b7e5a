"""Control as a service of the user's system: systemd on Linux, launchd on macOS."""

from __future__ import annotations

import asyncio
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

from himalia.control.launcher import stop_control
from himalia.core.errors import Unavailable
from himalia.core.places import Places

_UNIT = "himalia-control.service"
_LABEL = "org.himalia.control"
_COMMAND = (sys.executable, "-P", "-m", "himalia.control", "serve", "--idle-seconds", "0")
_SECONDS = 30.0


def install(places: Places | None = None) -> str:
    """Have the system start control at login and keep it; start it now. Says what was done.

    :raises Unavailable: this system has neither systemd nor launchd, or it refuses.
    """
    where = (places or Places.of_user()).prepare()
    path, text = _file(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    asyncio.run(stop_control(where))
    try:
        for command in _commands("install", path):
            _run(*command)
    except Unavailable:
        path.unlink(missing_ok=True)
        raise
    done = f"Installed {path}. Himalia's control runs from now on, and from each login."
    if sys.platform != "darwin":
        done += "\nTo have it run without a login, too: loginctl enable-linger"
    return done


def uninstall(places: Places | None = None) -> str:
    """Undo :func:`install`; runs go on. Says what was done."""
    path, _ = _file(places or Places.of_user())
    if not path.exists():
        return "Himalia's control is not installed."
    for command in _commands("uninstall", path):
        _run(*command)
    path.unlink()
    return f"Removed {path}. Himalia's control is started when it is needed."


def is_installed() -> bool:
    """Tell whether the system starts control."""
    return _path().exists()


def _path() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{_LABEL}.plist"
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "systemd" / "user" / _UNIT


def _file(places: Places) -> tuple[Path, bytes]:
    return _path(), launchd(places) if sys.platform == "darwin" else systemd(places).encode()


def systemd(places: Places) -> str:
    """Write the unit for these places."""
    command = " ".join(_quoted(part).replace("$", "$$") for part in _COMMAND)
    home = _quoted(f"HIMALIA_HOME={places.home}")
    return f"""[Unit]
Description=Himalia: this user's notebook jobs

[Service]
ExecStart={command}
Environment={home} PYTHONUNBUFFERED=1
Restart=on-failure
# Runs go on when control is stopped or renewed.
KillMode=process

[Install]
WantedBy=default.target
"""


def _quoted(text: str) -> str:
    """Write a word as systemd reads it (man systemd.service, Quoting)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def launchd(places: Places) -> bytes:
    """Write the property list for these places."""
    return plistlib.dumps(
        {
            "Label": _LABEL,
            "ProgramArguments": list(_COMMAND),
            "EnvironmentVariables": {"HIMALIA_HOME": str(places.home)},
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            # Runs go on when control is stopped or renewed.
            "AbandonProcessGroup": True,
        }
    )


def _commands(action: str, path: Path) -> tuple[tuple[str, ...], ...]:
    if sys.platform == "darwin":
        domain = f"gui/{os.getuid()}"
        if action == "install":
            return (("launchctl", "bootstrap", domain, str(path)),)
        return (("launchctl", "bootout", f"{domain}/{_LABEL}"),)
    ctl = ("systemctl", "--user")
    if action == "install":
        return ((*ctl, "daemon-reload"), (*ctl, "enable", "--now", _UNIT))
    return ((*ctl, "disable", "--now", _UNIT), (*ctl, "daemon-reload"))


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise Unavailable(
            f"This system has no {program}. Himalia's control is started when it is needed."
        )
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, and a path of our own
            [found, *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{program} does not answer.") from error
    if done.returncode:
        raise Unavailable(f"{program} {' '.join(arguments)} failed: {done.stderr.strip()}")
