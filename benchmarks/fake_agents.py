"""A stand-in for the agents of people whose pods run nowhere.

On fake nodes no program runs, so that no agent can be started in a pod and no runner leaves
anything in a home. This answers in their place, at once, what they would say of a run that goes on
and on. It is what this benchmark does not measure; all else of control's is real.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from himalia.agents.account import Account
from himalia.agents.settings import AgentSettings
from himalia.core.errors import NotFound
from himalia.core.model import Reason

_A = TypeVar("_A", bound=BaseModel)
_HOME = Path("/home/jovyan")


class FakeAgents:
    """Says what agents would, as `himalia.agents.Agents` does."""

    def __init__(self) -> None:
        self.settings = AgentSettings(runs_elsewhere=True)
        self._begun: dict[tuple[str, int], bool] = {}
        self._specs: dict[str, dict[str, Any]] = {}
        self.asked = 0

    def owners(self) -> tuple[str, ...]:
        """Return nobody: none is up."""
        return ()

    def trouble(self, _owner: str) -> str | None:
        """Return nothing."""
        return None

    def broken(self, _owner: str) -> Reason | None:
        """Return nothing."""
        return None

    async def account(self, _owner: str) -> Account:
        """Return the account of a pod."""
        return Account(name="jovyan", home=_HOME)

    async def changes(self) -> frozenset[str] | None:
        """Never return: nothing changes in homes."""
        await asyncio.Event().wait()
        return None

    async def ask(
        self, _owner: str, do: str, with_: Any, answer: type[_A], *, seconds: float | None = None
    ) -> _A:
        """Answer (:raises NotFound: nobody would have asked that here)."""
        del seconds
        self.asked += 1
        return answer.model_validate(self._said(do, with_))

    def _said(self, do: str, asked: Any) -> dict[str, Any]:
        match do:
            case "pin":
                digest = hashlib.sha256(asked.model_dump_json().encode()).hexdigest()
                self._specs[f"sha256:{digest}"] = asked.spec
                return {
                    "digest": f"sha256:{digest}",
                    "taken_at": "2026-01-01T00:00:00Z",
                    "files": 1,
                }
            case "spec":
                return {"spec": self._specs[asked.digest]}
            case "start":
                self._begun[asked.run_id, asked.attempt] = True
            case "observe":
                return {"items": [self._seen(one, "absent") for one in asked.items]}
            case "conclude":
                del self._begun[asked.run_id, asked.attempt]
                return self._seen(asked, "lost")
            case "hold" | "stop" | "remove" | "check_parameters":
                pass
            case _:
                raise NotFound(f"No agent is there to {do}.")
        return {}

    def _seen(self, one: Any, otherwise: str) -> dict[str, Any]:
        known = self._begun.get((one.run_id, one.attempt))
        if known:
            # Asked again, its runner has come.
            self._begun[one.run_id, one.attempt] = False
        phase = otherwise if known is None else "starting" if known else "running"
        return {
            "run_id": one.run_id, "attempt": one.attempt, "phase": phase,
            "progress": {"done": 0, "total": 0, "current": None},
            "started_at": None, "ended_at": None, "outcome": None, "reason": None,
        }  # fmt: skip

    async def end(self, _owner: str) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""
