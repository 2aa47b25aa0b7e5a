"""Agents: what is done for an owner under the owner's own account, in a process of its own."""

from __future__ import annotations

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.agents.settings import AgentSettings

__all__ = ["Account", "AgentBackend", "AgentPremises", "AgentSettings", "Agents"]
