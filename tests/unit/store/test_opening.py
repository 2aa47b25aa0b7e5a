"""A store opens whole, private and of the right age, or says why it does not."""

# ruff: noqa: ASYNC240 - nothing else waits while a test looks at its files
from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from himalia.core.errors import Unavailable
from himalia.core.model import Run, Workload
from himalia.core.spec import Spec
from himalia.store import schema, sqlite_file
from himalia.store.sql import SqlStore

pytestmark = pytest.mark.asyncio

NewStore = Callable[[], SqlStore]


async def _filled(new_store: NewStore, workload: Workload[Spec], runs: list[Run]) -> None:
    store = new_store()
    await store.open()
    await store.workloads.insert(workload, runs)
    await store.close()


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_the_files_are_their_owners_alone(
    store: SqlStore, path: Path, workload: Workload[Spec]
) -> None:
    await store.workloads.insert(workload)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"store.db", "store.db-wal", "store.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_may_read_is_closed_to_them(
    new_store: NewStore, path: Path
) -> None:
    store = new_store()
    await store.open()
    await store.close()
    path.chmod(0o644)
    await store.open()
    await store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_was_committed_is_durable_whatever_happens_next(store: SqlStore) -> None:
    def pragmas(connection: object) -> list[object]:
        return [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()  # type: ignore[attr-defined]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert await store._database.write(pragmas) == ["wal", 2, 1]
    assert await store._database.read(pragmas) == ["wal", 2, 1]


@pytest.mark.parametrize("kind", sorted(sqlite_file.NETWORK_TYPES))
async def test_a_network_file_system_is_refused(
    new_store: NewStore, path: Path, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "filesystem_type", lambda _: kind)
    with pytest.raises(Unavailable, match=r"network file system .*HIMALIA_HOME"):
        await new_store().open()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(("mount", "is_refused"), [("fuse.sshfs", True), ("fuseblk", False)])
async def test_of_user_space_file_systems_those_known_as_local_are_taken(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch, mount: str, is_refused: bool
) -> None:
    monkeypatch.setattr(sqlite_file, "filesystem_type", lambda _: 0x65735546)
    monkeypatch.setattr(sqlite_file, "_mount_type", lambda _: mount)
    store = new_store()
    if is_refused:
        with pytest.raises(Unavailable, match="sshfs"):
            await store.open()
    else:
        await store.open()
        await store.close()


async def test_the_type_of_a_file_system_is_the_systems_own(tmp_path: Path) -> None:
    assert sqlite_file.filesystem_type(Path("/proc")) == 0x9FA0
    assert sqlite_file._mount_type(Path("/proc")) == "proc"
    with pytest.raises(Unavailable, match="No such file"):
        sqlite_file.filesystem_type(tmp_path / "absent")


@pytest.mark.parametrize("kept", [0, 10, 100, 4096, 8192, 0.5, 0.95])
async def test_a_truncated_store_is_refused_and_left_as_it_is(
    new_store: NewStore,
    path: Path,
    workload: Workload[Spec],
    make_run: Callable[[], Run],
    kept: float,
) -> None:
    await _filled(new_store, workload, [make_run() for _ in range(200)])
    whole = path.read_bytes()
    size = int(len(whole) * kept) if 0 < kept < 1 else int(kept)
    path.write_bytes(whole[:size])
    with pytest.raises(Unavailable, match=r"(damaged|truncated).*[Pp]ut back a copy"):
        await new_store().open()
    assert path.read_bytes() == whole[:size]
    path.write_bytes(whole)
    store = new_store()
    await store.open()
    assert (await store.workloads.get("ann", "job", workload.id)).id == workload.id
    await store.close()


async def test_a_store_with_a_spoilt_page_is_refused(
    new_store: NewStore, path: Path, workload: Workload[Spec], make_run: Callable[[], Run]
) -> None:
    await _filled(new_store, workload, [make_run() for _ in range(200)])
    spoilt = bytearray(path.read_bytes())
    spoilt[4096 * 30 : 4096 * 31] = b"\xff" * 4096
    path.write_bytes(spoilt)
    with pytest.raises(Unavailable, match="damaged"):
        await new_store().open()


async def test_a_file_that_is_no_database_is_refused(new_store: NewStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Unavailable, match="damaged"):
        await new_store().open()


async def test_somebody_elses_database_is_refused(new_store: NewStore, path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(Unavailable, match="not a store of Himalia"):
        await new_store().open()


async def test_a_log_whose_store_is_missing_is_not_taken_for_nothing(
    new_store: NewStore, path: Path, workload: Workload[Spec]
) -> None:
    store = new_store()
    await store.open()
    await store.workloads.insert(workload)
    copy = path.parent.parent / "copy"
    shutil.copytree(path.parent, copy)
    await store.close()
    (copy / path.name).unlink()
    before = _contents(copy)
    with pytest.raises(Unavailable, match="missing, while its log"):
        await SqlStore(copy / path.name, lambda _, __: workload.spec).open()
    assert _contents(copy) == before


async def test_a_newer_store_is_refused_and_left_as_it_is(new_store: NewStore, path: Path) -> None:
    store = new_store()
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE compatibility SET oldest_reader = '9998'")
    connection.close()
    with pytest.raises(Unavailable, match="newer release"):
        await new_store().open()


async def test_a_newer_store_that_is_fit_for_this_release_is_used(
    new_store: NewStore, path: Path, workload: Workload[Spec]
) -> None:
    store = new_store()
    await store.open()
    await store.workloads.insert(workload)
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.execute("ALTER TABLE runs ADD COLUMN novelty TEXT")
    connection.close()
    store = new_store()
    await store.open()
    found = await store.workloads.get(workload.owner, workload.kind, workload.id)
    await store.close()
    assert found.name == workload.name


async def test_what_another_release_stored_is_named(
    store: SqlStore, path: Path, workload: Workload[Spec]
) -> None:
    await store.workloads.insert(workload)
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE workloads SET spec = \'{"notebook": "a", "novelty": 1}\'')
    connection.close()
    with pytest.raises(Unavailable, match=f"{workload.id}.* by another release"):
        await store.workloads.get("ann", "job", workload.id)


async def test_a_python_with_an_old_sqlite_is_refused(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema.sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(Unavailable, match=r"needs 3\.35"):
        await new_store().open()


async def test_a_store_that_vanished_does_not_come_back_empty(
    store: SqlStore, path: Path, workload: Workload[Spec]
) -> None:
    await store.workloads.insert(workload)
    store._database._engine.dispose()
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(Unavailable, match="cannot be opened"):
        await store.workloads.get("ann", "job", workload.id)
    assert not path.exists()
    path.with_name("elsewhere.db").rename(path)


async def test_a_start_that_was_killed_while_it_made_the_store_leaves_none(
    new_store: NewStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite_file, "finish", die)
    with pytest.raises(KeyboardInterrupt):
        schema.prepare(new_store()._database.url)
    assert not path.exists()
    monkeypatch.undo()
    store = new_store()
    await store.open()
    await store.close()
    assert not path.with_name("store.db.new").exists()


async def test_a_folder_that_cannot_be_used_is_said(
    new_store: NewStore, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match=r"store\.db cannot be used"):
        await new_store().open()


async def test_on_other_systems_mounts_are_known_by_name(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file.sys, "platform", "darwin")
    monkeypatch.setattr(sqlite_file, "_mount_type", lambda _: "smbfs")
    with pytest.raises(Unavailable, match="smbfs"):
        await new_store().open()
    monkeypatch.setattr(sqlite_file, "_mount_type", lambda _: "apfs")
    assert sqlite_file.network_name(Path("/")) is None
