"""The attempt's folder: at most one process executes, and what is written is whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from himalia.runners.attempt import (
    LOCK_FD,
    AttemptFolder,
    claim,
    read_json,
    write_file,
    write_json,
)


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "attempt")
    folder.make()
    return folder


def test_the_lock_is_taken_once(folder: AttemptFolder) -> None:
    assert not folder.is_taken()
    lock = folder.take()
    assert lock is not None
    assert folder.is_taken()
    assert folder.take() is None
    folder.release(lock)
    assert not folder.is_taken()


def test_the_lock_outlives_its_taker_in_a_process_that_inherited_it(folder: AttemptFolder) -> None:
    lock = folder.take()
    assert lock is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[lock]) as child:
        folder.release(lock)
        assert folder.is_taken()
        child.communicate(b"\n")
    assert not folder.is_taken()


def test_claiming_by_hand_takes_the_lock(folder: AttemptFolder) -> None:
    lock = claim(folder)
    assert lock is not None
    assert claim(folder) is None
    folder.release(lock)


@pytest.mark.parametrize("left", ["started", "result"])
def test_what_was_executed_is_not_claimed_again(folder: AttemptFolder, left: str) -> None:
    write_json(getattr(folder, left), {})
    assert claim(folder) is None
    assert not folder.is_taken()


def test_an_inherited_lock_is_kept_from_children(
    folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = folder.take()
    assert lock is not None
    write_json(folder.started, {})
    os.set_inheritable(lock, True)
    monkeypatch.setenv(LOCK_FD, str(lock))

    assert claim(folder) == lock
    assert not os.get_inheritable(lock)
    assert LOCK_FD not in os.environ
    folder.release(lock)


def test_the_first_result_stays(folder: AttemptFolder) -> None:
    folder.finish({"status": "succeeded"})
    folder.finish({"status": "failed"})
    assert read_json(folder.result) == {"status": "succeeded"}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_object_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_json(path) is None
    assert read_json(tmp_path / "absent") is None


def test_files_are_the_users_alone(folder: AttemptFolder) -> None:
    write_json(folder.plan, {})
    assert folder.plan.stat().st_mode & 0o777 == 0o600
    assert folder.outputs.stat().st_mode & 0o777 == 0o700
