"""Following a run: cursors, and logs cut between the bytes of a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.backends.base import LogPart
from himalia.core.errors import InvalidInput
from himalia.core.following import Cursor, decode_log


@given(text=st.text(max_size=60), size=st.integers(4, 20))
def test_a_log_read_in_parts_is_the_log(text, size):
    data = text.encode("utf-8", "replace")
    offset, read = 0, ""
    while True:
        part = LogPart(data=data[offset : offset + size], offset=offset, next_offset=offset + size)
        is_last = offset + size >= len(data)
        piece, start, end = decode_log(part, is_complete=is_last)
        assert start == offset
        read += piece
        offset = end
        if is_last and offset >= len(data):
            break
    assert read == data.decode()


def test_a_part_from_inside_a_character_begins_after_it():
    data = "é€x".encode()
    part = LogPart(data=data[1:], offset=1, next_offset=len(data))
    assert decode_log(part, is_complete=True) == ("€x", 2, len(data))


def test_bytes_that_are_no_text_are_shown_as_replaced():
    part = LogPart(data=b"a\xffb", offset=0, next_offset=3)
    assert decode_log(part, is_complete=False) == ("a�b", 0, 3)


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.3", "1.2.3.4", "a.b.c.d.e", "-1.0.0.0.0", "1.2.3.4.٣"]
)
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(InvalidInput):
        Cursor.of(text)


def test_a_cursor_reads_back():
    assert str(Cursor.of("2.7.311.1.400")) == "2.7.311.1.400"
