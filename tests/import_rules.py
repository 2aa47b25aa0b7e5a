"""Who may import whom; :mod:`tests.test_architecture` looks."""

from __future__ import annotations

from dataclasses import dataclass

HEAVY = (
    "nbformat",
    "nbconvert",
    "nbclient",
    "jupyter_client",
    "ipykernel",
    "alembic",
    "jsonschema",
)
"""Libraries that cost control and the Jupyter server more memory than all of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the modules below `part` may not import, and what of that they may all the same."""

    part: str
    never: tuple[str, ...]
    but: tuple[str, ...] = ()


RULES = (
    # The core knows contracts, and neither where it runs nor who asks.
    Rule(
        part="himalia.core",
        never=(
            *HEAVY,
            "jupyter_server",
            "jupyterhub",
            "kubernetes",
            "tornado",
            "sqlalchemy",
            "click",
            "IPython",
            "himalia",
        ),
        but=(
            "himalia.core",
            "himalia.__version__",
            "himalia.blocking",
            "himalia.store.base",
            "himalia.store.team",
            "himalia.backends.base",
            "himalia.kinds.base",
            "himalia.kinds.registry",
        ),
    ),
    # The store keeps rows. Migrations run in a process of their own and may take what they need.
    Rule(
        part="himalia.store",
        never=(*HEAVY, "jupyter_server", "jupyterhub", "kubernetes", "tornado", "click", "himalia"),
        but=("himalia.store", "himalia.core", "himalia.kinds.base", "himalia.kinds.registry"),
    ),
    # A backend starts plans.
    Rule(
        part="himalia.backends",
        never=("jupyter_server", "jupyterhub", "sqlalchemy", "alembic", "click", "himalia"),
        but=(
            "himalia.agents",
            "himalia.backends",
            "himalia.blocking",
            "himalia.core",
            "himalia.kinds.base",
            "himalia.runners",
        ),
    ),
    Rule(part="himalia.backends", never=("himalia.core.local", "himalia.core.reconciler")),
    # The one of clusters is made of agents; those are made of the one of a machine.
    *(
        Rule(
            part=part,
            never=("himalia.agents", "himalia.backends.kubernetes", "kubernetes", "aiohttp"),
        )
        for part in ("himalia.backends.base", "himalia.backends.local")
    ),
    # An agent does for one owner what the laptop's control does in its own process.
    Rule(
        part="himalia.agents",
        never=(
            *HEAVY,
            "jupyter_server",
            "jupyterhub",
            "kubernetes",
            "sqlalchemy",
            "tornado",
            "click",
            "himalia",
        ),
        but=(
            "himalia.agents",
            "himalia.core",
            "himalia.backends.base",
            "himalia.backends.local",
            "himalia.kinds.base",
            "himalia.kinds.registry",
            "himalia.runners.attempt",
            "himalia.__version__",
        ),
    ),
    Rule(part="himalia.agents", never=("himalia.core.local", "himalia.core.reconciler")),
    # A kind turns a spec into a plan.
    Rule(
        part="himalia.kinds",
        never=("jupyter_server", "jupyterhub", "kubernetes", "sqlalchemy", "tornado", "himalia"),
        # It writes the runner's task, and looks for environments as the runner does.
        but=(
            "himalia.kinds",
            "himalia.core",
            "himalia.blocking",
            "himalia.runners.task",
            "himalia.runners.environments",
        ),
    ),
    Rule(part="himalia.kinds", never=("himalia.core.local", "himalia.core.reconciler")),
    # A runner is a program of its own.
    Rule(
        part="himalia.runners",
        never=("jupyter_server", "jupyterhub", "kubernetes", "sqlalchemy", "himalia"),
        but=("himalia.runners", "himalia.core", "himalia.__version__"),
    ),
    Rule(part="himalia.runners", never=("himalia.core.local", "himalia.core.reconciler")),
    # Handlers talk to the seam and to nothing behind it.
    Rule(
        part="himalia.handlers",
        never=(*HEAVY, "jupyterhub", "kubernetes", "sqlalchemy", "himalia"),
        but=(
            "himalia.handlers",
            "himalia.core",
            "himalia.blocking",
            "himalia.kinds.base",
            "himalia.kinds.registry",
            "himalia.__version__",
        ),
    ),
    Rule(part="himalia.handlers", never=("himalia.core.local", "himalia.core.reconciler")),
    # What starts a server, and its page about the home, know files and nothing of workloads.
    Rule(
        part="himalia.homes",
        never=(*HEAVY, "kubernetes", "sqlalchemy", "httpx", "himalia"),
        but=("himalia.homes", "himalia.core.homes", "himalia.core.errors"),
    ),
    # Control composes everything, lightly.
    Rule(part="himalia.control", never=(*HEAVY, "jupyterhub", "kubernetes", "sqlalchemy")),
    # The session never holds what control holds.
    *(
        Rule(
            part=part,
            never=("himalia.store", "himalia.backends", "himalia.runners", "himalia.core.local"),
        )
        for part in (
            "himalia.extension",
            "himalia.remote",
            "himalia.client",
            "himalia.cli",
            "himalia.magics",
            "himalia.scheduler",
        )
    ),
    # Clients speak REST and nothing else.
    *(
        Rule(
            part=part,
            never=("himalia.handlers", "jupyter_server", "nbconvert", "sqlalchemy"),
            but=("himalia.handlers.shapes",),
        )
        for part in ("himalia.remote", "himalia.client", "himalia.cli", "himalia.magics")
    ),
    # A configuration is read where JupyterHub need not be, and by control.
    *(
        Rule(part=f"himalia_hub.{part}", never=("jupyterhub", "himalia.store"))
        for part in ("configure", "settings", "later", "state", "banner")
    ),
    # What tries from a user's pod has Python and nothing else.
    Rule(
        part="himalia_hub.isolation.probe",
        never=("himalia", "himalia_hub", "jupyterhub", "kubernetes", "tornado", "traitlets"),
    ),
    # Manifests and words are worked out without asking anybody.
    *(
        Rule(
            part=f"himalia_hub.kubernetes.{part}",
            never=("kubernetes", "kubernetes_asyncio", "kubespawner", "jupyterhub", "httpx"),
        )
        for part in ("settings", "profiles", "bundle", "network", "pods", "starting")
    ),
    # What makes namespaces has rights that nothing else has, and so knows as little as can be.
    *(
        Rule(
            part=f"himalia_hub.kubernetes.{part}",
            never=("jupyterhub", "kubespawner", "himalia.store", "himalia.backends"),
        )
        for part in ("cluster", "storage", "reconcile", "serve")
    ),
    # The page is a client of the REST interface: it never gets at what is behind it.
    Rule(
        part="himalia_hub.admin",
        never=("himalia.store", "himalia.backends", "himalia.core.local", "himalia.core.governing"),
    ),
)
