"""Threat 47: an SQLite store on a network file system, where its log would damage it."""

from __future__ import annotations

from pathlib import Path

import pytest

from himalia.core.errors import Unavailable
from himalia.kinds.job import JobSpec
from himalia.store import sqlite_file
from himalia.store.sql import SqlStore


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "name"), [(0x6969, "NFS"), (0xFF534D42, "CIFS")])
async def test_047_a_store_on_a_network_file_system_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, name: str
) -> None:
    monkeypatch.setattr(sqlite_file, "filesystem_type", lambda _: kind)
    store = SqlStore(tmp_path / "store.db", lambda _, stored: JobSpec.model_validate(stored))
    with pytest.raises(Unavailable) as caught:
        await store.open()
    assert f"network file system ({name})" in caught.value.message
    assert "Set HIMALIA_HOME to a folder on a disk of this machine." in caught.value.message
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else waits
    with pytest.raises(Unavailable):
        await store.schedules.count()
