"""One hub for all tests that leave it as they found it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.servers.hub import Hub

SECRET = "postgresql://someone:canary-in-the-address@"
"""What stands in an administrator's environment, and nowhere else."""


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A hub with demo logins, named servers, and an environment full of secrets."""
    made = Hub(
        config="c.JupyterHub.allow_named_servers = True\n",
        environment={"CANARY_OF_THE_HUB": SECRET, "PYTHONPATH": "", "HIMALIA_HOME": "/nowhere"},
    )
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()
