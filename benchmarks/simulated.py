"""A spawner that starts nothing: every server is one small HTTP server of the benchmark's.

Imported by the hubs that are measured. It does to a spawner class what JupyterHub's own stress
tests do: the class's own ``start`` is not called, all else of it is.
"""

from __future__ import annotations

import os
from typing import Any

from jupyterhub.spawner import Spawner

ADDRESS = "BENCHMARK_SERVER"
TOKENS = "BENCHMARK_TOKENS"


def simulated(base: type[Spawner]) -> type[Spawner]:
    """Return `base` with servers that are always up as soon as they were asked for."""

    class Simulated(base):  # type: ignore[valid-type, misc]
        async def start(self) -> str:
            # What a start does in the hub's own process is measured; a process is not the hub's.
            self.get_env()
            with open(os.environ[TOKENS], "a") as file:  # noqa: ASYNC230, PTH123 - one short line
                file.write(f"{self.user.name} {self.api_token}\n")
            self.is_up = True
            return os.environ[ADDRESS]

        async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - the contract's
            self.is_up = False

        async def poll(self) -> int | None:
            return None if getattr(self, "is_up", False) else 0

        def load_state(self, state: dict[str, Any]) -> None:
            super().load_state(state)
            self.is_up = bool(state.get("is_up"))

        def get_state(self) -> dict[str, Any]:
            return {**super().get_state(), "is_up": getattr(self, "is_up", False)}

    return Simulated
