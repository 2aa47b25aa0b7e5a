"""How full the home of an owner is, asked of their agent."""

from __future__ import annotations

from himalia.agents.fleet import Agents
from himalia.agents.messages import Count, Moment, Nothing
from himalia.core.homes import HomeUse
from himalia.core.spec import Model


class SaidHome(Model):
    """How full the home is, in the agent's words."""

    size_bytes: Count | None
    used_bytes: Count | None
    free_bytes: Count | None
    is_at_least: bool
    is_almost_full: bool
    is_rescued: bool
    looked_at: Moment


async def ask_home(agents: Agents, owner: str) -> HomeUse:
    """Return how full it is (:raises Unavailable: their agent does not answer)."""
    said = await agents.ask(owner, "home", Nothing(), SaidHome)
    return HomeUse(**said.model_dump())
