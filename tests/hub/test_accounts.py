"""System accounts: one for each person, made once, never given twice, and nothing is inherited."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from himalia.core.errors import Conflict, NotFound, Unavailable
from himalia.core.names import account_name, is_owner_id, owner_id
from himalia_hub.accounts import Accounts
from himalia_hub.settings import Himalia

CREATED = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)
"""Accounts are made for real where the tests run as root; elsewhere homes alone are."""


@pytest.fixture
def settings() -> Iterator[Himalia]:
    """A hub's settings with a state folder that other accounts can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="himalia-accounts-"))
    folder.chmod(0o711)
    # Other hubs of this machine may give numbers just now.
    first = random.randrange(75_000, 99_000)
    yield Himalia(
        state=str(folder / "state"),
        account_shell="/bin/sh",
        account_numbers=(first, first + 500),
    )
    for entry in pwd.getpwall():
        if entry.pw_dir.startswith(f"{folder}/"):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.uids().real == entry.pw_uid:
                        process.kill()
            subprocess.run(["userdel", entry.pw_name], check=True, capture_output=True)
    shutil.rmtree(folder)


@pytest.fixture
def accounts(settings: Himalia) -> Accounts:
    return Accounts(settings)


def owner(name: str = "ann") -> str:
    return owner_id(f"{name}-{time.time_ns()}", CREATED)


def test_a_new_user_of_the_same_name_is_another_owner() -> None:
    first, second = owner_id("ann", CREATED), owner_id("ann", CREATED.replace(microsecond=0))
    assert first.startswith("ann-")
    assert second.startswith("ann-")
    assert first != second
    assert account_name(first) != account_name(second)


@pytest.mark.parametrize("name", ["", "Ünï", "a" * 300, "../..", "a\nb", "-", "\ud800", "A_b.c"])
def test_every_name_gives_an_id_that_is_valid_where_it_is_used(name: str) -> None:
    made = owner_id(name, CREATED)
    assert is_owner_id(made)
    assert len(made) <= 57
    assert len(account_name(made)) == 29


@pytest.mark.parametrize("wrong", ["", "root", "ann", "../etc", f"a-{'b' * 26}\n", f"/{'b' * 26}"])
def test_what_is_no_owner_gets_no_account(accounts: Accounts, wrong: str) -> None:
    with pytest.raises(NotFound):
        accounts.of(wrong, "ann")
    with pytest.raises(NotFound):
        accounts.retire(wrong, "ann")


def test_an_account_has_a_home_that_nobody_else_enters(
    accounts: Accounts, settings: Himalia
) -> None:
    who = owner()
    account = accounts.of(who, "ann")
    found = account.home.stat()
    assert account.home == settings.folder / "homes" / who
    assert found.st_mode & 0o777 == 0o700
    assert found.st_uid == (os.geteuid() if account.uid is None else account.uid)
    assert accounts.of(who, "ann") == account
    if settings.is_root:
        entry = pwd.getpwnam(account.name)
        assert (entry.pw_uid, entry.pw_gid, entry.pw_shell) == (account.uid, account.gid, "/bin/sh")
        shadow = Path("/etc/shadow").read_text()
        assert f"\n{account.name}:!" in shadow, "the password is locked"


async def test_many_at_once_make_one_account_each(settings: Himalia) -> None:
    owners = [owner(f"u{number}") for number in range(3)]
    with ThreadPoolExecutor(12) as threads:
        made = await asyncio.gather(
            *(
                asyncio.get_running_loop().run_in_executor(threads, Accounts(settings).of, who, "u")
                for who in owners * 4
            )
        )
    assert len(set(made)) == 3
    if settings.is_root:
        assert len({account.uid for account in made}) == 3


async def test_hubs_of_one_machine_give_no_number_twice(settings: Himalia) -> None:
    loop = asyncio.get_running_loop()
    hubs = [
        Himalia(
            state=str(Path(settings.state).with_name(f"hub{number}")),
            account_shell="/bin/sh",
            account_numbers=settings.account_numbers,
        )
        for number in range(4)
    ]
    made = await asyncio.gather(
        *(loop.run_in_executor(None, Accounts(hub).of, owner(), "ann") for hub in hubs)
    )
    assert len({account.home for account in made}) == 4
    if settings.is_root:
        assert len({account.uid for account in made}) == 4


def test_a_home_that_is_a_link_or_somebody_elses_is_refused(
    accounts: Accounts, settings: Himalia
) -> None:
    who, target = owner(), settings.folder / "secrets"
    target.mkdir(parents=True, mode=0o700)
    homes = settings.folder / "homes"
    homes.mkdir()
    (homes / who).symlink_to(target)
    with pytest.raises(Unavailable, match="cannot be made"):
        accounts.of(who, "ann")
    assert target.stat().st_uid == os.geteuid()
    (homes / who).unlink()
    (homes / who).mkdir()
    (homes / who / "file").touch()
    if settings.is_root:
        with pytest.raises(Conflict, match="belongs to account number 0"):
            accounts.of(who, "ann")
        homes.chmod(0o777)
        with pytest.raises(Conflict, match="Others may write"):
            accounts.of(who, "ann")


def test_an_account_that_others_made_is_not_adopted(settings: Himalia, accounts: Accounts) -> None:
    if not settings.is_root:
        assert accounts.of(owner(), "ann").uid is None
        return
    who = owner()
    home = str(settings.folder / "homes" / who)
    make = ["useradd", "-M", "-d", home, "-c", "somebody", "-u", "69999", account_name(who)]
    subprocess.run(make, check=True, capture_output=True)
    with pytest.raises(Conflict, match="not made by this hub"):
        accounts.of(who, "ann")
    with pytest.raises(Conflict, match="not made by this hub"):
        accounts.retire(who, "ann")
    assert pwd.getpwnam(account_name(who))


def test_who_is_retired_leaves_no_process_and_no_number_to_inherit(
    settings: Himalia, accounts: Accounts
) -> None:
    who = owner()
    account = accounts.of(who, "ann")
    (account.home / "diary").write_text("secret")
    if settings.is_root:
        os.chown(account.home / "diary", account.uid or -1, -1)
        left = subprocess.Popen(["sleep", "600"], user=account.uid, group=account.gid)
    accounts.retire(who, "ann")
    accounts.retire(who, "ann")
    assert not account.home.exists()
    (kept,) = (settings.folder / "retired").glob(f"{who}.*/home/diary")
    assert kept.read_text() == "secret"
    assert (settings.folder / "retired").stat().st_mode & 0o777 == 0o700
    if settings.is_root:
        assert left.wait(10) == -9
        with pytest.raises(KeyError):
            pwd.getpwnam(account.name)
        with pytest.raises(KeyError):
            grp.getgrnam(account.name)
    again = accounts.of(who, "ann")
    assert list(again.home.iterdir()) == []
    if settings.is_root:
        assert account.uid is not None
        assert again.uid is not None
        assert again.uid > account.uid


def test_a_lost_count_gives_no_number_again(settings: Himalia, accounts: Accounts) -> None:
    who = owner()
    first = accounts.of(who, "ann")
    accounts.retire(who, "ann")
    if settings.is_root:
        (settings.folder / "account-numbers").unlink()
    second = accounts.of(owner(), "ann")
    assert (first.uid or 0) < (second.uid or 1)


def test_retired_homes_are_deleted_after_their_days(settings: Himalia, accounts: Accounts) -> None:
    outside = settings.folder / "outside"
    who = owner()
    home = accounts.of(who, "ann").home
    outside.mkdir()
    (outside / "file").touch()
    (home / "link").symlink_to(outside)
    (home / "folder").mkdir()
    accounts.retire(who, "ann")
    assert accounts.delete_retired() == 0
    settings.retired_days = 0.0
    assert accounts.delete_retired() == 1
    assert list((settings.folder / "retired").iterdir()) == []
    assert (outside / "file").exists()


def test_when_all_numbers_were_given_it_says_what_to_set(settings: Himalia) -> None:
    first, _ = settings.account_numbers
    settings.account_numbers = (first, first)
    accounts = Accounts(settings)
    assert accounts.of(owner(), "ann").uid in (first, None)
    if settings.is_root:
        with pytest.raises(Unavailable, match="account_numbers"):
            accounts.of(owner(), "bob")


@pytest.mark.parametrize("name", ["root", "daemon", "nobody", "nosuchuser", "a\0b", ""])
def test_accounts_of_the_system_are_ordinary_users_alone(settings: Himalia, name: str) -> None:
    settings.accounts = "system"
    accounts = Accounts(settings)
    if not settings.is_root:
        assert accounts.of(owner(name), name).uid is None
        return
    with pytest.raises((NotFound, Conflict)):
        accounts.of(owner(name), name)
