"""A full disk ends a run with its reason, and nothing half written (threat 96)."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia.backends.local.limits import LocalLimits
from himalia.backends.local.pool import Pool
from himalia.backends.local.starting import Starting
from himalia.core.errors import Unavailable
from himalia.core.places import Places
from himalia.runners.failure import from_os_error
from himalia.runners.watchdog import Watchdog


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.fixture
def small_runs(runs: Any, small_disk: Path) -> Any:
    places = Places(home=small_disk / "home").prepare()
    starting = Starting(places.snapshots, LocalLimits(), 2**20, Pool(0, 1))
    return type(runs)(starting, places)


def test_096_a_run_that_fills_the_disk_ends_with_its_reason(small_runs: Any) -> None:
    fill = "f = open('filler', 'wb', buffering=0)\nwhile True: f.write(bytes(4096))"
    run = small_runs.run("print('kept')", fill)

    assert run.result["status"] == "failed"
    assert run.code == "disk_full"
    assert run.text(0) == "kept\n"
    assert not run.folder.work.exists()
    assert not [path for path in run.folder.path.rglob("*") if path.name.endswith(".tmp")]


def test_096_a_run_that_fills_the_disk_slowly_ends_before_it_is_full(small_runs: Any) -> None:
    fill = (
        "import time\nf = open('filler', 'wb', buffering=0)\n"
        "while f.tell() < 7_900_000: f.write(bytes(65536))\n"
        "time.sleep(600)"
    )
    run = small_runs.run(fill)

    assert run.code == "disk_full"


def test_096_nothing_starts_on_a_full_disk_until_there_is_room(
    small_runs: Any, small_disk: Path, make_document: Any
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(8_100_000))
    with pytest.raises(Unavailable, match="disk"):
        small_runs.start(make_document("1"))
    filler.unlink()

    assert small_runs.run("print(1)").result["status"] == "succeeded"


def test_errors_of_a_full_disk_are_told_apart() -> None:
    assert from_os_error(OSError(errno.ENOSPC, "x")).code == "disk_full"
    assert from_os_error(OSError(errno.EDQUOT, "x")).code == "disk_full"
    assert from_os_error(OSError(errno.EIO, "x")).code == "internal"


def test_the_watchdog_lets_a_modest_run_be(tmp_path: Path) -> None:
    assert Watchdog(folder=tmp_path, memory_bytes=2**60, processes=10**6).look() is None
