"""Where the state of one user lies on disk, and who may look at it."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from himalia.core.errors import Unavailable

_SOCKET_LIMIT = 100
"""Bytes; a Unix socket's path is limited to 107 on Linux and 103 on macOS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Every path below one state folder. Making one touches nothing on disk."""

    home: Path
    """Absolute."""

    @classmethod
    def of_user(cls) -> Places:
        """Return the places of whoever runs this process.

        The folder is ``HIMALIA_HOME`` where that is set, else ``himalia`` in Jupyter's data folder.
        """
        chosen = os.environ.get("HIMALIA_HOME")
        if chosen:
            return cls(home=Path(chosen).expanduser().resolve())
        from jupyter_core.paths import jupyter_data_dir  # noqa: PLC0415 - not needed with a home

        return cls(home=Path(jupyter_data_dir()).resolve() / "himalia")

    @property
    def store(self) -> Path:
        """The SQLite database."""
        return self.home / "store.db"

    @property
    def snapshots(self) -> Path:
        """Pinned inputs: ``<digest in hex>/…``."""
        return self.home / "snapshots"

    @property
    def runs(self) -> Path:
        """What attempts left: ``<run id>/<attempt>/…``."""
        return self.home / "runs"

    @property
    def control_lock(self) -> Path:
        """Locked by the one control that runs."""
        return self.home / "control.lock"

    @property
    def control_file(self) -> Path:
        """What the running control says of itself."""
        return self.home / "control.json"

    @property
    def control_log(self) -> Path:
        """What control logs."""
        return self.home / "control.log"

    @property
    def socket(self) -> Path:
        """Where control listens: in the home, or near it by name where that path is too long.

        Reads no environment variable, so that all of a user's processes agree.
        """
        near = self.home / "control.sock"
        if len(os.fsencode(near)) <= _SOCKET_LIMIT:
            return near
        uid = os.getuid()
        name = f"himalia-{uid}-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]}"
        runtime = Path(f"/run/user/{uid}")
        parent = runtime if runtime.is_dir() and os.access(runtime, os.W_OK) else Path("/tmp")  # noqa: S108 - the folder is made 0700 and its owner checked
        return parent / name / "control.sock"

    def prepare(self) -> Places:
        """Make the folders, readable by the user alone.

        :raises Unavailable: a folder belongs to somebody else or cannot be made.
        """
        self.prepare_files()
        _make_private(self.socket.parent)
        return self

    def prepare_files(self) -> Places:
        """Make the folders of snapshots and runs, where nobody listens.

        :raises Unavailable: as :meth:`prepare`.
        """
        for folder in (self.home, self.snapshots, self.runs):
            _make_private(folder)
        return self


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            raise Unavailable(
                f"{folder} belongs to another user. Set HIMALIA_HOME to a folder of your own."
            )
        # A folder in /tmp must not be a link that somebody laid there.
        if folder.is_symlink() and folder.lstat().st_uid != os.geteuid():
            raise Unavailable(f"{folder} is a link that another user made. Remove it.")
        if sys.platform != "win32" and stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be used: {error.strerror}. "
            "Set HIMALIA_HOME to a folder that you can write to."
        ) from error
