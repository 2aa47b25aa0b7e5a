"""The state folder of a hub: its secrets and the ports that it keeps."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from contextlib import suppress
from pathlib import Path

from himalia.core.errors import Unavailable
from himalia_hub.settings import Himalia

_PORTS = range(20_000, 32_000)
"""Below those that the system lends to whoever connects somewhere."""
_TRIES = 100
_SHORTEST = 32
"""Characters of a secret that was given."""


class State:
    """Every path below one hub's state folder. Making one touches nothing on disk."""

    def __init__(self, folder: Path, given: Path | None = None) -> None:
        self.folder = folder
        self._given = given
        """A folder of secrets that somebody else made, and looks after."""
        self.secrets = given or folder / "secrets"
        self.data = folder / "data"
        """Databases."""
        self.homes = folder / "homes"
        self.notice = folder / "notice.json"
        """What everybody is told; written by control, shown on the hub's pages."""

    @classmethod
    def of(cls, settings: Himalia) -> State:
        """Return the state folder that the settings name."""
        return cls(settings.folder, Path(settings.secrets) if settings.secrets else None)

    def prepare(self) -> State:
        """Make the folders: others may pass through, and see nothing of what is private.

        :raises Unavailable: a folder belongs to somebody else or cannot be made.
        """
        for folder in (self.folder, self.homes):
            _make(folder, 0o711)
        for folder in (self.secrets, self.data) if self._given is None else (self.data,):
            _make(folder, 0o700)
        return self

    def secret(self, name: str) -> str:
        """Return a secret of 256 bits in hexadecimal: made once, or given.

        :raises Unavailable: it cannot be kept, others may read it, or it was not given.
        """
        if self._given is not None:
            return _read(self._given / name)
        return self._kept(self.prepare().secrets / name, secrets.token_hex(32))

    def port(self, name: str) -> int:
        """Return a port of this machine that is this hub's, chosen once."""
        path = self.prepare().folder / f"{name}-port"
        return int(path.read_text() if path.exists() else self._kept(path, str(_free_port())))

    @staticmethod
    def _kept(path: Path, made: str) -> str:
        """Write `made` unless there is a value already, and return the one that stands."""
        try:
            if not path.exists():
                new = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
                with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                    f.write(made)
                    f.flush()
                    os.fsync(f.fileno())
                # Of several that start at once, the first one's stands.
                with suppress(FileExistsError):
                    os.link(new, path)
                new.unlink()
            found = path.stat()
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise Unavailable(
                    f"{path} may be read by others: chown it to the hub's account and chmod it to "
                    "600, or remove it to have a new one made."
                )
            return path.read_text().strip()
        except OSError as error:
            raise Unavailable(f"{path} cannot be used: {error.strerror}.") from error


def _read(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"The secret {path} cannot be read: {error.strerror}.") from error
    if len(text) < _SHORTEST:
        raise Unavailable(f"The secret {path} is shorter than {_SHORTEST} characters.")
    return text


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid():
            raise Unavailable(
                f"{folder} belongs to another account. Set c.Himalia.state to a folder of the "
                "account that the hub runs as."
            )
        if stat.S_IMODE(found.st_mode) != mode:
            folder.chmod(mode)
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be used: {error.strerror}. Set c.Himalia.state to a "
            "folder that the hub can write to."
        ) from error


def _free_port() -> int:
    for _ in range(_TRIES):
        port = secrets.choice(_PORTS)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise Unavailable("No free port was found on this machine.")
