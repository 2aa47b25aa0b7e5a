"""People with accounts of their own on this machine, for tests of what one may see of another.

The accounts are real where the tests run as root; elsewhere all are this one, with homes apart.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from himalia.agents import Account, AgentSettings
from himalia.core.names import new_id, owner_id
from himalia_hub.accounts import Accounts
from himalia_hub.settings import Himalia
from tests.servers.environment import server_python


class People:
    """Makes people, each with an owner's id, an account and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Himalia(state=str(folder / "state"), account_shell="/bin/sh")
        self._accounts = Accounts(self.settings)
        self._owners: dict[str, str] = {}

    def owner(self, name: str) -> str:
        """Return the owner's id of a person."""
        unique = f"{name}-{self.folder.name}"
        return self._owners.setdefault(name, owner_id(unique, datetime.now(UTC)))

    def account(self, name: str) -> Account:
        """Return the account of a person, made when it is first asked for."""
        return self._accounts.of(self.owner(name), name)

    async def of_owner(self, owner: str) -> Account:
        """Return the account of an owner: as fleets of agents ask for it."""
        names = {known: name for name, known in self._owners.items()}
        return self.account(names.get(owner) or owner.partition("-")[0])

    def root(self, name: str) -> Path:
        """Make an empty folder in the person's home, and the person's own."""
        return self.give(name, self.account(name).home / "work" / new_id("dir"))

    def give(self, name: str, folder: Path) -> Path:
        """Make a folder the person's own, with all that is in it."""
        account = self.account(name)
        folder.mkdir(parents=True, exist_ok=True)
        if account.uid is not None and account.gid is not None:
            for path in (folder.parent, folder, *folder.rglob("*")):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        return folder

    def close(self) -> None:
        """Remove the accounts, with all that runs under them."""
        for owner in self._owners.values():
            self._accounts.retire(owner)
        left = [entry for entry in pwd.getpwall() if entry.pw_dir.startswith(f"{self.folder}/")]
        for entry in left:
            subprocess.run(["userdel", entry.pw_name], check=True, capture_output=True)
        shutil.rmtree(self.folder)


def quick(**changes: object) -> AgentSettings:
    """Return settings of agents for tests, whose owners run too little to warm anything up."""
    usual: dict[str, object] = {"python": server_python(), "idle_seconds": 20.0, "pool_size": 0}
    return AgentSettings(**(usual | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def people() -> Iterator[People]:
    """People who are there until all tests have ended."""
    folder = Path(tempfile.mkdtemp(prefix="himalia-people-"))
    folder.chmod(0o711)
    found = People(folder)
    yield found
    found.close()
