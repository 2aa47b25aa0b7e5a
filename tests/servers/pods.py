"""The backend of clusters over namespaces of tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from himalia.agents.account import Account
from himalia.agents.fleet import Agents
from himalia.agents.settings import AgentSettings
from himalia.backends.kubernetes.api import Api
from himalia.backends.kubernetes.backend import KubernetesBackend
from himalia.backends.kubernetes.launching import PodAgents
from himalia.backends.kubernetes.settings import PodSettings
from tests.servers.cluster import Estate

HOME = "/home/jovyan"


async def pod_backend(
    estate: Estate,
    *,
    home: str = HOME,
    kubeconfig: str = "",
    runs: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> tuple[KubernetesBackend, Agents]:
    """Return a backend that was not opened yet, and what asks the agents behind it.

    `changes` are to the settings of pods, `runs` to those of runs alone.
    """
    usual: dict[str, Any] = {
        "image": estate.cluster.image("session"),
        "prefix": estate.prefix,
        "home": home,
        "cpu": 0.05,
        "memory_bytes": 256 * 2**20,
    }
    settings = PodSettings(**(usual | changes))
    api = await Api.connect(Path(kubeconfig or estate.cluster.kubeconfig))

    async def account(_owner: str) -> Account:
        return Account(name="jovyan", home=Path(home))

    of_agents = AgentSettings(
        runs_elsewhere=True, memory_bytes=settings.memory_bytes, look_seconds=10.0
    )
    agents = Agents(account, of_agents, launch=PodAgents(api, settings).launch)
    return KubernetesBackend(agents, api, replace(settings, **runs)), agents
