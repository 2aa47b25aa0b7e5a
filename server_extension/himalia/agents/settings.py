"""How agents are run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from himalia.core.pinning import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The same for every owner."""

    python: Path = field(default_factory=lambda: Path(sys.executable))
    """Of an environment that has Himalia, and that the owners' accounts may execute."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that agents, and so runs, get beside the machine's own; nothing secret."""
    pool_size: int | None = 1
    """Warm processes kept ready for each owner with an agent; None means one for each core."""
    pool_idle_seconds: float = 120.0
    runs_elsewhere: bool = False
    """Whether an agent prepares the folders of runs that others start, on other machines."""
    log_limit_bytes: int = 20 * 2**20
    """Of each attempt's log; the oldest part goes."""
    memory_bytes: int | None = None
    """Of one run with all its processes; four fifths of the machine's when not given."""
    processes: int = 1024
    """Of one run."""
    limits: Limits = field(default_factory=Limits)
    """Of one snapshot."""
    max_agents: int = 2000
    """At once; more owners wait until others are idle."""
    idle_seconds: float = 120.0
    """After the last request, until an agent ends."""
    start_seconds: float = 30.0
    """An agent may take to come up."""
    answer_seconds: float = 20.0
    """An agent may take to answer."""
    pin_seconds: float = 900.0
    """An agent may take to copy and sync input files."""
    look_seconds: float = 1.5
    """Looks at runs wait for slow agents; what those say later is for the next look."""
    forgive_seconds: float = 300.0
    """After trouble with an agent, until it is forgotten."""
    max_troubles: int = 5
    """In that time; after more, an owner's runs fail instead of being tried again."""
