"""Kubernetes, as control's team is put together on it: namespaces, and pods in them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from himalia.agents.account import Account
from himalia.agents.settings import AgentSettings
from himalia.backends.kubernetes.api import Api
from himalia.backends.kubernetes.backend import KubernetesBackend
from himalia.backends.kubernetes.launching import PodAgents
from himalia.backends.kubernetes.settings import PodSettings
from himalia_hub.control.works import Works
from himalia_hub.kubernetes.asking import Namespaces
from himalia_hub.kubernetes.bundle import CA_CONFIG, CLAIM, RUN_ACCOUNT
from himalia_hub.kubernetes.inner_tls import client_of
from himalia_hub.kubernetes.members import Memberships
from himalia_hub.kubernetes.offers import Offers
from himalia_hub.kubernetes.pods import HOME
from himalia_hub.kubernetes.settings import Kubernetes

_START_SECONDS = 180.0
"""An agent's pod may have to wait for its image."""
_USER = "jovyan"


async def kubernetes(settings: Kubernetes, token: str) -> Works:
    """Return the cluster that this process is in, or that KUBECONFIG names.

    :raises Unavailable: there is none.
    """
    pods = PodSettings(
        image=settings.image,
        prefix=settings.prefix,
        python=settings.python,
        home=HOME,
        home_bytes=settings.agreed_bytes,
        claim=CLAIM,
        uid=settings.uid,
        gid=settings.gid,
        service_account=RUN_ACCOUNT,
        pull_policy=settings.pull_policy,
        node_selector=dict(settings.node_selector),
        tolerations=tuple(settings.tolerations),
        authorities=CA_CONFIG if settings.ca_file else "",
        is_watching_all=settings.watch_all,
    )
    async with AsyncExitStack() as stack:
        api = await Api.connect()
        stack.push_async_callback(api.close)
        namespaces = Namespaces(settings.namespaces_url, token, client_of(settings))
        stack.push_async_callback(namespaces.close)
        return Works(
            grounds=ClusterGrounds(namespaces),
            agents=AgentSettings(
                runs_elsewhere=True,
                memory_bytes=pods.memory_bytes,
                start_seconds=_START_SECONDS,
            ),
            launch=PodAgents(api, pods).launch,
            backend=lambda agents, people: KubernetesBackend(
                agents,
                api,
                pods,
                Offers(settings, people),
                Memberships(settings, people, namespaces),
            ),
            look=api.look,
            close=stack.pop_all().aclose,
        )


class ClusterGrounds:
    """A namespace for each person, with their home in it."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    async def account(self, owner: str, name: str) -> Account:
        """Return who a person is in their pods, for whom a namespace is there."""
        await self._namespaces.ensure(owner, name)
        return Account(name=_USER, home=Path(HOME))

    async def has(self, owner: str, name: str) -> bool:  # noqa: ARG002
        """Tell whether a person has a namespace."""
        return owner in await self._namespaces.owners()

    async def retire(self, owner: str, name: str) -> bool:  # noqa: ARG002
        """Have the namespace go, and the home dealt with."""
        return await self._namespaces.remove(owner)

    async def owners(self) -> Collection[str]:
        """Return whose namespaces there are."""
        return await self._namespaces.owners()

    async def sweep(self) -> None:
        """Nothing: what makes namespaces looks after archived homes."""
