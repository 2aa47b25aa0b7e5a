"""How pods are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A folder beside the home that an owner has with others."""

    claim: str
    """In the owner's namespace."""
    path: str
    """Where a run finds it."""
    is_read_only: bool


Shares = Callable[[str], Awaitable[Sequence[Share]]]
"""Gives those that an owner has now (:raises Unavailable: that is not known now)."""


async def no_shares(_owner: str) -> Sequence[Share]:
    """Give nobody any."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """The same for every owner."""

    image: str
    """With the same environment as sessions have, for runs and for what looks after files."""
    prefix: str = "himalia"
    """Of the owners' namespaces."""
    python: str = "/opt/himalia/bin/python"
    """In the image: of the environment that has Himalia."""
    home: str = "/home/jovyan"
    """Where the owner's files are mounted, as in sessions."""
    home_bytes: int | None = None
    """Size of a home that was agreed on, where its file system is shared by many."""
    claim: str = "home"
    """The volume claim of the owner's files."""
    uid: int = 1000
    gid: int = 1000
    service_account: str = "default"
    """In the owner's namespace; its token is never mounted."""
    pull_policy: str = "IfNotPresent"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    shares: Sequence[Share] = ()
    """Of one owner; a run's pod has them."""
    authorities: str = ""
    """A ConfigMap in the owner's namespace whose ``ca.crt`` is trusted beside the usual ones."""
    cpu: float = 0.25
    """Cores that a run which asks for none is sure to have."""
    cpu_limit: float = 4.0
    """Cores that such a run may take while they are idle."""
    memory_bytes: int = 2 * 2**30
    """Of a run that asks for none."""
    overhead_bytes: int = 192 * 2**20
    """Beyond what a run may take, for what runs it."""
    scratch_bytes: int = 4 * 2**30
    """Of ``/tmp``, the only other place that can be written to."""
    agent_memory_bytes: int = 512 * 2**20
    agent_idle_seconds: float = 120.0
    """After the last agent left, until its pod ends."""
    agent_start_seconds: float = 120.0
    """The pod for agents may take to come up."""
    is_watching_all: bool = False
    """Whether one watch follows the runs of all, which takes the right to list and watch pods in
    all namespaces; else there is one for each owner with runs that are on."""
    start_seconds: float = 1800.0
    """A run's pod may take to come up; then the run fails with the reason why it did not."""
