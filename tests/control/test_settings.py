"""Settings are read from one file, and what is wrong in it is named without its values."""

from __future__ import annotations

import pytest

from himalia.control.settings import Settings, read_settings
from himalia.core.errors import InvalidInput
from himalia.core.places import Places


@pytest.fixture
def read(tmp_path):
    """Write settings and read them."""

    def write_and_read(text):
        (tmp_path / "settings.toml").write_bytes(text)
        return read_settings(Places(home=tmp_path))

    return write_and_read


def test_without_a_file_everything_has_a_default(tmp_path):
    assert read_settings(Places(home=tmp_path)) == Settings()


def test_what_is_said_is_taken(read):
    found = read(b'max_running = 7\nidle_seconds = 0\nsmtp_url = "smtp://mail.example:25"\n')
    assert (found.max_running, found.idle_seconds) == (7, 0)
    assert found.smtp_url == "smtp://mail.example:25"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"max_running = 0", "max_running"),
        (b"max_runing = 1", "max_runing: unknown field"),
        (b"idle_seconds = 'long'", "idle_seconds"),
        (b"max_running = ", "is not TOML"),
        (b"\xff", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(read, text, told):
    with pytest.raises(InvalidInput, match=told):
        read(text)


def test_011_a_wrong_mail_server_does_not_show_its_password(read):
    with pytest.raises(InvalidInput, match="smtp_url") as told:
        read(b'smtp_url = "ftp://user:canary@host"')
    assert "canary" not in told.value.message
    assert "canary" not in repr(Settings(smtp_url="smtp://user:canary@host"))
