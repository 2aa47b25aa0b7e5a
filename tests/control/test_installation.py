"""Control as a service of the user's system."""

from __future__ import annotations

import plistlib
import shutil
import stat
import subprocess
import sys

import pytest

from himalia.control import installation
from himalia.core.errors import Unavailable


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that notes what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text('#!/bin/sh\necho "$@" >> "$0.said"\nexit ${SYSTEMCTL_EXIT:-0}\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "platform", "linux")
    return program.with_name("systemctl.said")


def test_installing_writes_a_unit_and_starts_it(places, systemctl, tmp_path):
    told = installation.install(places)
    unit = tmp_path / "config/systemd/user/himalia-control.service"
    assert str(unit) in told
    assert installation.is_installed()
    assert "enable --now himalia-control.service" in systemctl.read_text()
    text = unit.read_text()
    assert f'"HIMALIA_HOME={places.home}"' in text
    assert "KillMode=process" in text
    assert "disable --now himalia-control.service" not in systemctl.read_text()
    installation.uninstall(places)
    assert not unit.exists()
    assert "disable --now himalia-control.service" in systemctl.read_text()


def test_uninstalling_what_is_not_installed_says_so(places, systemctl):
    assert "not installed" in installation.uninstall(places)


def test_a_system_that_refuses_is_told_and_nothing_stays(places, systemctl, monkeypatch):
    monkeypatch.setenv("SYSTEMCTL_EXIT", "1")
    with pytest.raises(Unavailable, match="systemctl"):
        installation.install(places)
    assert not installation.is_installed()


def test_a_system_without_it_is_told(places, systemctl, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match="no systemctl"):
        installation.install(places)
    assert not installation.is_installed()


def test_odd_folders_are_quoted(tmp_path):
    places = installation.Places(home=tmp_path / 'a "b" 100%')
    assert 'a \\"b\\" 100%%"' in installation.systemd(places)
    read = plistlib.loads(installation.launchd(places))
    assert read["EnvironmentVariables"]["HIMALIA_HOME"] == str(places.home)
    assert read["AbandonProcessGroup"] is True


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(places, tmp_path):
    unit = tmp_path / "himalia-control.service"
    unit.write_text(installation.systemd(places))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit], capture_output=True, text=True, check=False
    )
    assert "himalia-control" not in done.stderr, done.stderr
