"""System accounts of a hub's users: one each, made when it is first needed, never given twice."""

from __future__ import annotations

import fcntl
import grp
import logging
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from himalia.agents.account import Account
from himalia.core.errors import Conflict, NotFound, Unavailable
from himalia.core.names import account_name, is_owner_id, user_name
from himalia_hub.homes import Homes
from himalia_hub.settings import Himalia

__all__ = ["Account", "Accounts"]

_log = logging.getLogger(__name__)

_FIRST_ORDINARY = 1000
"""Accounts below are the system's own, and nobody's to log in with."""
_NOBODY = 65_534
_TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
_TOOL_SECONDS = 60.0
_KILL_SECONDS = 10.0
_MACHINE = Path("/run/himalia-accounts.lock")
"""Held while accounts are made or removed: the system's tools look for a free number before they
lock anything, so that two hubs of one machine could give the same."""


class Accounts:
    """Finds, makes and retires accounts. Every method blocks; threads and processes may call at
    once.
    """

    def __init__(self, settings: Himalia) -> None:
        self._settings = settings
        self._homes = Homes(settings.folder)
        self._first: int
        self._last: int
        self._first, self._last = settings.account_numbers

    def of(self, owner: str, name: str) -> Account:
        """Return the account of an owner whose name at the hub is `name`, with a home.

        :raises NotFound: the system has no account of this name, and is to have it.
        :raises Conflict: an account or a home of this name is somebody else's.
        :raises Unavailable: it cannot be made.
        """
        if not is_owner_id(owner):
            raise NotFound("There is no such person.")
        if not self._settings.is_root:
            home = self._homes.make(owner, os.geteuid(), os.getegid())
            return Account(name=user_name(), home=home)
        if self._is_of_system:
            return _account(_of_system(name))
        entry = self._find(owner) or self._make(owner)
        self._homes.make(owner, entry.pw_uid, entry.pw_gid)
        return _account(entry)

    def has(self, owner: str, name: str) -> bool:
        """Tell whether anything of an owner's, whose name at the hub is `name`, is here."""
        if not self._is_of_system:
            return self._homes.path(owner).exists()
        try:
            return _state(_of_system(name), owner).exists()
        except (NotFound, Conflict):
            return False
        except PermissionError:
            # A volume that shuts root out: the account itself will see.
            return True

    def retire(self, owner: str, name: str) -> None:
        """Take away what an owner had: processes are killed, the account goes, and the home is put
        where only the hub's own account reaches it. May be repeated. Accounts of the system's own
        stay as they are, but for what Himalia kept in their homes for this owner.

        :raises Unavailable: a process would not end, or something could not be removed.
        """
        if not is_owner_id(owner):
            raise NotFound("There is no such person.")
        if self._is_of_system:
            with suppress(NotFound, Conflict):
                _clear(_of_system(name), owner)
            return
        with self._locked():
            entry = self._find(owner) if self._settings.is_root else None
            if entry is not None:
                self._kill(entry)
            # The home first: an account without one is harmless, and is found again.
            self._homes.retire(owner)
            if entry is not None:
                _run("userdel", entry.pw_name)
                with suppress(KeyError):
                    grp.getgrnam(entry.pw_name)
                    _run("groupdel", entry.pw_name)

    @property
    def _is_of_system(self) -> bool:
        return bool(self._settings.is_root and self._settings.accounts == "system")

    def delete_retired(self) -> int:
        """Delete the homes that were retired longer ago than the settings keep them."""
        return self._homes.delete_retired(self._settings.retired_days * 86_400)

    def _find(self, owner: str) -> pwd.struct_passwd | None:
        name = account_name(owner)
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        is_ours = (
            entry.pw_gecos == _mark(owner)
            and self._first <= entry.pw_uid <= self._last
            and entry.pw_dir == str(self._homes.path(owner))
        )
        if not is_ours:
            raise Conflict(
                f"The system account {name} was not made by this hub for {owner}. Remove it, or "
                "see that its comment, number and home are those that this hub gives."
            )
        return entry

    def _make(self, owner: str) -> pwd.struct_passwd:
        name, home = account_name(owner), str(self._homes.path(owner))
        with self._locked():
            entry = self._find(owner)
            if entry is not None:
                return entry
            number = str(self._next_number())
            with suppress(KeyError):
                # What an earlier try left, which was interrupted.
                grp.getgrnam(name)
                _run("groupdel", name)
            _run("groupadd", "--gid", number, name)
            identity = ("--uid", number, "--gid", number, "--comment", _mark(owner))
            place = ("--no-create-home", "--home-dir", home, "--no-log-init")
            _run("useradd", *identity, *place, "--shell", self._settings.account_shell, name)
            _log.info("made the account %s for %s", name, owner)
            return pwd.getpwnam(name)

    def _next_number(self) -> int:
        """Take the next number, for good: it is on disk before anything gets it."""
        counter = self._settings.folder / "account-numbers"
        try:
            number = int(counter.read_text())
        except FileNotFoundError:
            # Lost or never written: whatever files here tell of accounts that were.
            number = max((n for n in self._homes.numbers() if n <= self._last), default=0) + 1
        number = max(number, self._first)
        while _is_taken(number):
            number += 1
        if number > self._last:
            raise Unavailable(
                f"All account numbers from {self._first} to {self._last} were given. "
                "Raise c.Himalia.account_numbers."
            )
        new = counter.with_suffix(".new")
        with open(new, "w", opener=_private) as file:
            file.write(str(number + 1))
            file.flush()
            os.fsync(file.fileno())
        new.replace(counter)
        return number

    def _kill(self, entry: pwd.struct_passwd) -> None:
        end = time.monotonic() + _KILL_SECONDS
        while any(_processes(entry.pw_uid)):
            if time.monotonic() > end:
                raise Unavailable(f"Processes of {entry.pw_name} do not end; trying again later.")
            # As the account itself, to all of its processes at once: no fork outruns it.
            subprocess.run(
                ["/bin/sh", "-c", "kill -KILL -1"],
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=_TOOL_SECONDS,
            )
            time.sleep(0.05)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._settings.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        own = self._settings.folder / "accounts.lock"
        handle = os.open(_MACHINE if self._settings.is_root else own, flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _mark(owner: str) -> str:
    return f"himalia {owner}"


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(
        name=entry.pw_name,
        home=Path(entry.pw_dir),
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)),
        shell=entry.pw_shell or "/bin/sh",
    )


def _of_system(name: str) -> pwd.struct_passwd:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        entry = None
    if entry is None or entry.pw_name != name:
        raise NotFound(f"This system has no account {name!r}. Ask an admin to make one.")
    if entry.pw_uid < _FIRST_ORDINARY or entry.pw_uid == _NOBODY:
        raise Conflict(f"The account {name!r} is the system's own, and nobody's to use.")
    return entry


def _state(entry: pwd.struct_passwd, owner: str) -> Path:
    return _account(entry).state(owner)


def _clear(entry: pwd.struct_passwd, owner: str) -> None:
    """Delete what is kept for an owner in the home of an account that stays.

    The account itself does it: whatever it may have put in the way, nothing else can be reached.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a path of our making below the account's own home
            ["/bin/rm", "-rf", "--one-file-system", "--", str(_state(entry, owner))],
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=[],
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise Unavailable(f"rm cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.strip()[-500:]
        raise Unavailable(f"What Himalia kept for {owner} cannot be deleted: {said}")
    _log.info("deleted what was kept for %s in the home of %s", owner, entry.pw_name)


def _is_taken(number: int) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwuid(number))
    with suppress(KeyError):
        return bool(grp.getgrgid(number))
    return any(_processes(number))


def _processes(uid: int) -> Iterator[int]:
    """Yield the processes of an account that have not ended."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if uid in process.uids() and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid


def _run(tool: str, *arguments: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - arguments are numbers, paths and names of our making
            [tool, *arguments],
            env={"PATH": _TOOLS, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TOOL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{tool} cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.strip()[-500:]
        raise Unavailable(f"{tool} failed with status {done.returncode}: {said}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
