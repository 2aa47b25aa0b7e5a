"""Chromium, as tests drive it: whichever is on this machine.

A module that uses it imports the three fixtures.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.servers.patience import PATIENCE_SECONDS

__all__ = ["FLAGS", "browser", "chromium", "jp_asyncio_loop", "jp_server_cleanup"]

expect.set_options(timeout=PATIENCE_SECONDS * 1000)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
)


@pytest.fixture(autouse=True)
def jp_asyncio_loop() -> None:
    """Keep the event loop of servers inside the tests' process away: the browser's runs here."""


@pytest.fixture(autouse=True)
def jp_server_cleanup() -> None:
    """Clean up nothing of such servers: there are none."""


def chromium() -> str | None:
    """Return the program, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; a module's own, because its event loop may not outlive the module."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()
