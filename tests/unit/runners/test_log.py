"""The log: bounded on disk, with positions that stay."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from himalia.runners.log import LogWriter, read_log


def test_an_absent_log_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log", offset=5, limit=10) == (b"", 0, 0)


def test_the_cap_holds_and_positions_stay(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, limit_bytes=1000)
    whole = "".join(f"line {number}\n" for number in range(1000))
    for line in whole.splitlines(keepends=True):
        log.write(line)

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    data, offset, end = read_log(tmp_path, offset=0, limit=10_000)
    assert offset > 0
    assert end == len(whole)
    assert data.decode() == whole[offset:]
    assert read_log(tmp_path, offset=end - 5, limit=3) == (data[-5:-2], end - 5, end - 2)


@given(
    parts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=20),
    offset=st.integers(-200, 200),
    limit=st.integers(0, 200),
)
def test_a_read_is_a_slice_of_what_was_written(
    tmp_path_factory: object, parts: list[str], offset: int, limit: int
) -> None:
    folder = tmp_path_factory.mktemp("log")  # type: ignore[attr-defined]
    log = LogWriter(folder, limit_bytes=5 * 64)
    for part in parts:
        log.write(part)
    whole = "".join(parts).encode()

    data, begin, end = read_log(folder, offset=offset, limit=limit)

    assert data == whole[begin:end]
    assert len(data) <= limit
    if whole and len(whole) <= 5 * 64:
        wanted = max(0, len(whole) + offset) if offset < 0 else min(offset, len(whole))
        assert begin == wanted


def test_another_writer_goes_on_where_one_stopped(tmp_path: Path) -> None:
    LogWriter(tmp_path).write("one ")
    LogWriter(tmp_path).write("two")
    assert read_log(tmp_path, offset=0, limit=100) == (b"one two", 0, 7)
